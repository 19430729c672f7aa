//! `.terraform.lock.hcl` (Terraform documentation, "Dependency Lock File"): providers with their hashes.

use cofferdam_types::Result;

use crate::{Ecosystem, File, Listed, Version, digest, list::List};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let mut open: Option<(Listed, bool)> = None;
    let mut in_hashes = false;
    for (number, line) in file.lines() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') || text.starts_with("//") {
            continue;
        }
        if let Some(rest) = text.strip_prefix("provider ") {
            let name = quoted(rest).filter(|_| rest.ends_with('{') && open.is_none());
            let name = name.ok_or_else(|| file.malformed(number, "a provider needs its address and `{`"))?;
            open = Some((Listed::new(Ecosystem::Terraform, name, Version::Any, number), false));
            continue;
        }
        let Some((item, has_version)) = &mut open else {
            return Err(file.malformed(number, "a line outside of a provider"));
        };
        if in_hashes {
            item.digests.extend(quoted(text).and_then(hash));
            in_hashes = !text.ends_with(']');
        } else if text == "}" {
            if !*has_version {
                return Err(file.malformed(item.line, "a provider without a version"));
            }
            if let Some((item, _)) = open.take() {
                list.add(item);
            }
        } else if let Some((key, value)) = text.split_once('=') {
            match key.trim() {
                "version" => {
                    item.version = Version::Exact(quoted(value).unwrap_or_default().to_owned());
                    *has_version = true;
                }
                "hashes" => {
                    item.digests.extend(value.split(',').filter_map(|part| hash(quoted(part)?)));
                    in_hashes = !value.trim_end().ends_with(']');
                }
                _ => {}
            }
        }
    }
    if open.is_some() { Err(file.malformed(u32::MAX, "it ends inside of a provider")) } else { Ok(()) }
}

fn quoted(text: &str) -> Option<&str> {
    text.split_once('"')?.1.split_once('"').map(|(inner, _)| inner)
}

/// `h1:` is of a package's files, `zh:` of its archive.
fn hash(text: &str) -> Option<String> {
    let is = match text.split_once(':')? {
        ("h1", base64) => digest::base64_to_hex(base64).is_some_and(|hex| hex.len() == 64),
        ("zh", hex) => digest::of_hex("sha256", hex).is_some(),
        _ => false,
    };
    is.then(|| text.to_owned())
}
