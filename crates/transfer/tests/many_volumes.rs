//! A transfer of more volumes than a process may have open files is written, read, mended and answered for.
//!
//! Its own program, because the limit is one of the whole process.

#[allow(dead_code, reason = "the stories use the rest of it")]
#[path = "stories/made.rs"]
mod made;

use std::{fs, path::Path};

use cofferdam_transfer::{Survey, answer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::made::{by_digest, noise, open, read_all, sealed, trust, write};

const VOLUMES: usize = 320;
const OPEN_FILES: u64 = 110;

fn look(folders: &[&Path]) -> Survey {
    let mut survey = Survey::open(folders, &trust(&[1, 2], 2, "inside")).unwrap();
    survey.hash(&()).unwrap();
    survey
}

#[test]
fn volumes_are_many_and_open_files_are_few() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: most }).unwrap();
    let home = tempfile::tempdir().unwrap();
    let blobs = vec![noise(VOLUMES * 65_536 - 300_000, 1), noise(290_000, 2)];
    // As much parity that its volumes are more than the open files, too.
    let path = write(home.path(), &blobs, sealed(65_536, 500));
    let count = |letter: char| {
        let names = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(letter)).count()
    };
    assert!(count('v') >= VOLUMES && count('p') as u64 > OPEN_FILES, "{} and {}", count('v'), count('p'));
    assert!(read_all(&open(&path).unwrap()).unwrap() == by_digest(&blobs));

    let whole = home.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let (copy, _) = answer(&look(&[&path]), &[(0, 20_000_000)], &whole).unwrap();
    assert!(fs::metadata(copy.join("r000001.ctr")).unwrap().len() > 20_000_000);

    fs::remove_file(path.join("v000007.ctv")).unwrap();
    let mut bytes = fs::read(path.join("v000300.ctv")).unwrap();
    bytes[77] ^= 4;
    fs::write(path.join("v000300.ctv"), bytes).unwrap();
    let repaired = look(&[&path]).repair(&home.path().join("mended"), &()).unwrap();
    assert_eq!(repaired.files, ["v000007.ctv", "v000300.ctv"]);
    let survey = look(&[&path, &repaired.folder]);
    assert!(survey.require_whole().is_ok());
}
