//! `.gitmodules` (git documentation, "gitmodules"). The commit of a submodule stands in the tree, not here.

use cofferdam_types::Result;

use crate::{File, list::List};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let mut current = None;
    let mut path = "";
    let mut noted = false;
    for (number, line) in (1..).zip(file.text.lines()) {
        let text = line.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        if text.starts_with('[') {
            let name = text.strip_prefix("[submodule ").and_then(|t| t.strip_suffix(']'));
            current = name.map(|name| name.trim().trim_matches('"'));
            path = "";
            continue;
        }
        let Some((key, value)) = text.split_once('=') else {
            return Err(file.malformed(number, "a line needs `key = value`"));
        };
        let value = value.trim().trim_matches('"');
        match (key.trim(), current) {
            ("path", Some(_)) => path = value,
            ("url", Some(name)) if value.starts_with("./") || value.starts_with("../") => {
                list.note(number, format!("the submodule `{name}` lies beside the project's own repository, whose address is not here; name it in cofferdam.want under `git`"));
            }
            ("url", Some(name)) => {
                if !noted {
                    list.note(number, "which commit of a submodule is needed stands in the tree: `git ls-tree HEAD PATH` shows it");
                    noted = true;
                }
                list.git(value, None, if path.is_empty() { name } else { path }, number);
            }
            _ => {}
        }
    }
    Ok(())
}
