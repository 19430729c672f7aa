//! The text forms of keys: how a wrong one is shown in an error, and how a right one stands in JSON.
//!
//! Somebody who mixes up the two halves of a key must never find the secret one in an error or a log.

/// Makes a type whose text is its `Display` and its `FromStr` the same text in JSON.
macro_rules! text_in_json {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_in_json;

/// Characters of a wrong text that an error repeats, at most.
const MAX_SHOWN: usize = 80;
/// What secret keys begin with, in lower case: age's, and those in PEM of every sort.
const SECRETS: [&str; 2] = ["age-secret-key-", "private key"];

/// What an error may repeat of a text that is no public key: stars for what looks like a secret one, else
/// its first 80 characters with control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if SECRETS.iter().any(|secret| lower.contains(secret)) {
        return "***".to_owned();
    }
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().take(MAX_SHOWN).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_stars_and_the_rest_cannot_move_a_cursor() {
        for secret in [
            "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
            " age-secret-key-1gfpyys",
            "cofferdam-ed25519:AGE-SECRET-KEY-1",
            "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----",
            "-----begin openssh private key-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        ] {
            assert_eq!(shown(secret), "***", "{secret}");
        }
        assert_eq!(shown("ein Schl\u{fc}ssel"), "ein Schl\u{fc}ssel");
        assert_eq!(shown("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(shown(&"x".repeat(500)).len(), MAX_SHOWN);
    }
}
