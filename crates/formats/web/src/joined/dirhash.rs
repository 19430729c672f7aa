//! Go's `h1:` digests (`golang.org/x/mod/sumdb/dirhash`, Hash1): SHA-256 over one line for each file, sorted.

use std::{
    fs::File,
    io::{BufReader, Read as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Sha256, Sha256Hasher};

/// Entries of a module's archive at the most.
const MOST_ENTRIES: usize = 200_000;
/// Expanded bytes of one at the most; Go itself takes 500 MiB.
const MOST_EXPANDED: u64 = 1 << 30;

fn h1(mut lines: Vec<(Vec<u8>, Sha256)>) -> String {
    lines.sort();
    let mut hasher = Sha256Hasher::default();
    for (name, sha256) in lines {
        hasher.update(sha256.to_hex().as_bytes());
        hasher.update(b"  ");
        hasher.update(&name);
        hasher.update(b"\n");
    }
    format!("h1:{}", STANDARD.encode(hasher.finish().0))
}

/// The digest of a `go.mod`, whose bytes have this SHA-256.
pub fn of_go_mod(sha256: Sha256) -> String {
    h1(vec![(b"go.mod".to_vec(), sha256)])
}

/// The digest of a module's archive; why there is none, in words.
pub fn of_zip(file: File) -> Result<String, String> {
    let unreadable = |e: &dyn std::fmt::Display| format!("the archive cannot be read: {e}");
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| unreadable(&e))?;
    if zip.len() > MOST_ENTRIES {
        return Err(format!("the archive holds more than {MOST_ENTRIES} files"));
    }
    let (mut lines, mut left) = (Vec::with_capacity(zip.len()), MOST_EXPANDED);
    for at in 0..zip.len() {
        let entry = zip.by_index(at).map_err(|e| unreadable(&e))?;
        let name = entry.name_raw().to_vec();
        if name.contains(&b'\n') {
            return Err("the archive holds a name with a line break".into());
        }
        let (mut hasher, mut buffer) = (Sha256Hasher::default(), vec![0; 64 << 10]);
        let mut body = entry.take(left + 1);
        loop {
            let read = body.read(&mut buffer).map_err(|e| unreadable(&e))?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            left = left
                .checked_sub(read as u64)
                .ok_or_else(|| format!("the archive expands to more than {MOST_EXPANDED} bytes"))?;
        }
        lines.push((name, hasher.finish()));
    }
    let count = lines.len();
    lines.sort();
    // Which of two files of one name is meant, readers disagree about.
    lines.dedup_by(|a, b| a.0 == b.0);
    if lines.len() < count {
        return Err("the archive holds one name twice".into());
    }
    Ok(h1(lines))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn zip(names: &[&str]) -> File {
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        for name in names {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap()
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order_in_an_archive() {
        let one = of_zip(zip(&["m@v1/a", "m@v1/b"])).unwrap();
        assert_eq!(one, of_zip(zip(&["m@v1/b", "m@v1/a"])).unwrap());
        assert_ne!(one, of_zip(zip(&["m@v1/b"])).unwrap());
        let lines = format!(
            "{}  m@v1/a\n{}  m@v1/b\n",
            Sha256::of(b"m@v1/a").to_hex(),
            Sha256::of(b"m@v1/b").to_hex()
        );
        assert_eq!(one, format!("h1:{}", STANDARD.encode(Sha256::of(lines.as_bytes()).0)));
    }

    #[test]
    fn an_archive_that_readers_disagree_about_has_no_digest() {
        assert!(of_zip(zip(&["a\nb"])).unwrap_err().contains("line break"));
        assert!(of_zip(tempfile::tempfile().unwrap()).unwrap_err().contains("cannot be read"));
    }
}
