//! A receiving site, run by the real program, that believes the sender of [`crate::sender`].

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    common::{Output, Site},
    sender::{root, root_json, sealing},
};

/// The site, and what its officer does there.
pub struct Inside {
    pub site: Site,
    pub officer: String,
}

impl Inside {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut site = Site::init(folder, "inside", "isolated");
        let sealed = site.home().join("keys/site.age");
        let _ = fs::remove_file(&sealed);
        sealing(7).write_new(&sealed).unwrap();
        site.serve();
        let desk = tempfile::tempdir().unwrap();
        let file = desk.path().join("root.json");
        fs::write(&file, root_json(&root(1), &[3])).unwrap();
        let fingerprint = root(1).fingerprint().unwrap().to_hex();
        let admin = site.admin.clone();
        let file = file.to_str().unwrap();
        site.by(&admin, &["key", "trust-root", "outside", file, "--fingerprint", &fingerprint]).ok();
        let officer = site.person("olga", "officer");
        Self { site, officer }
    }

    /// Receives folders.
    pub fn receive(&self, folders: &[PathBuf]) -> Output {
        self.receive_with(folders, &[])
    }

    pub fn receive_with(&self, folders: &[PathBuf], more: &[&str]) -> Output {
        let mut arguments = vec!["receive"];
        arguments.extend(folders.iter().map(|f| f.to_str().unwrap()));
        arguments.extend(more);
        self.site.by(&self.officer, &arguments)
    }

    /// All that an import would change.
    pub fn state(&self) -> (Vec<Value>, usize, Value) {
        let (transfers, repositories) = (self.site.transfers(), self.site.repositories());
        // What was stored may lie in quarantine, where no row names it: what counts is what is shown.
        (transfers, repositories["repositories"].as_array().map_or(0, Vec::len), repositories)
    }

    /// Refused, and nothing was imported.
    #[track_caller]
    pub fn refuses(&self, folder: &std::path::Path, exit: i32, code: &str) -> String {
        let before = self.state();
        let message = self.receive(&[folder.to_owned()]).fails(exit, code);
        assert_eq!(self.state(), before, "{code}: something was imported");
        message
    }
}
