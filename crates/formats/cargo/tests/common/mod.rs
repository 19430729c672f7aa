//! Crates made by hand for the tests.

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// A gzip-compressed tar archive of these members.
pub fn archive(members: &[(&str, &str)]) -> Bytes {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in members {
        let mut header = tar::Header::new_old();
        // Written straight into the header: the builder itself would refuse a path with `..`.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap().into()
}

/// A crate with a manifest whose end is `more`.
pub fn crate_file(name: &str, version: &str, more: &str) -> Bytes {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"About {name}\"\n{more}\n"
    );
    let root = format!("{name}-{version}");
    archive(&[(&format!("{root}/Cargo.toml"), &manifest), (&format!("{root}/src/lib.rs"), "")])
}
