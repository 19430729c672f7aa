//! pip, uv, PDM and Pipenv.

use crate::{
    Build,
    common::{
        packages,
        tools::{have, have_sandbox, named},
        upstream::{pair_with, upstream},
    },
    path_with,
};
use cofferdam_types::Sha256;

const USE: &str = "import ferry, oars; assert (ferry.VERSION, oars.VERSION) == ('2.1', '1.0')\n";

#[test]
fn pip_installs_what_a_locked_list_of_requirements_names() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let pinned = |(file, bytes): (String, Vec<u8>)| {
        let mut parts = file.split('-');
        let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
        format!("{name}=={version} --hash=sha256:{}\n", Sha256::of(&bytes))
    };
    let requirements = [packages::wheel("ferry", "2.1", &["oars>=1"]), packages::wheel("oars", "1.0", &[])]
        .map(pinned)
        .concat();
    let build = Build {
        files: &[("requirements.txt", requirements.as_bytes()), ("boat.py", USE.as_bytes())],
        command: "rm -rf site; python3 -m pip install --no-compile --require-hashes --target site -r requirements.txt\n\
                  PYTHONPATH=site python3 boat.py",
        person: &[],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!(
        (&recorded["releases"], recorded["network"]["addresses"].as_array().unwrap().len()),
        (&2.into(), 0)
    );
}

#[test]
fn uv_syncs_a_project() {
    let Some(uv) = named("uv", "COFFERDAM_TEST_UV") else { return };
    if !have("python3") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let project = "[project]\nname = \"boat\"\nversion = \"0.1.0\"\nrequires-python = \">=3.8\"\n\
                   dependencies = [\"ferry==2.1\"]\n[tool.uv]\npackage = false\n";
    let build = Build {
        files: &[("pyproject.toml", project.as_bytes()), ("boat.py", USE.as_bytes())],
        command: "rm -rf .venv uv.lock; uv sync; uv run --frozen python boat.py",
        person: &[("PATH", &path_with(&uv))],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!(
        (&recorded["releases"], recorded["network"]["addresses"].as_array().unwrap().len()),
        (&2.into(), 0)
    );
}

#[test]
fn pdm_locks_and_syncs_a_project() {
    let Some(pdm) = named("pdm", "COFFERDAM_TEST_PDM") else { return };
    if !have("python3") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let project = "[project]\nname = \"boat\"\nversion = \"0.1.0\"\nrequires-python = \">=3.8\"\n\
                   dependencies = [\"ferry==2.1\"]\n[tool.pdm]\ndistribution = false\n";
    let build = Build {
        files: &[("pyproject.toml", project.as_bytes()), ("boat.py", USE.as_bytes())],
        command: "rm -rf .venv pdm.lock; pdm lock; pdm sync; .venv/bin/python boat.py",
        person: &[("PATH", &path_with(&pdm))],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!(
        (&recorded["releases"], recorded["network"]["addresses"].as_array().unwrap().len()),
        (&2.into(), 0)
    );
}

#[test]
fn pipenv_locks_and_syncs_a_project() {
    let Some(pipenv) = named("pipenv", "COFFERDAM_TEST_PIPENV") else { return };
    if !have("python3") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let build = Build {
        files: &[("Pipfile", b"[packages]\nferry = \"==2.1\"\n"), ("boat.py", USE.as_bytes())],
        command: "export PIPENV_VENV_IN_PROJECT=1; rm -rf .venv Pipfile.lock; pipenv lock; pipenv sync\n\
                  .venv/bin/python boat.py",
        person: &[("PATH", &path_with(&pipenv))],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!(recorded["releases"], 2, "{recorded}");
}
