//! Names of Python packages: the one form under which two spellings are the same package.

/// A name in its normal form: lower case, runs of `-`, `_` and `.` as one `-` (names and normalization specification, first
/// PEP 503). None when it is no name: letters, digits and those signs, and a letter or digit at each end.
#[must_use]
pub fn python_name(name: &str) -> Option<String> {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bytes = name.as_bytes();
    if !ends(bytes.first()) || !ends(bytes.last()) || !name.bytes().all(inner) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.push(c.to_ascii_lowercase()),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_one() {
        assert_eq!(python_name("Foo__Bar.-baz").as_deref(), Some("foo-bar-baz"));
        for bad in ["", "-a", "a b", "é", "a/b", "a-"] {
            assert_eq!(python_name(bad), None, "{bad}");
        }
    }
}
