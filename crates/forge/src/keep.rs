//! `expire_in`: how long an artifact is kept, in the words of a pipeline file.

use std::time::Duration;

use cofferdam_types::{Error, Result};

/// Reads `3 days`, `1 week 2 hrs`, `90` (seconds) or `never`; `None` is for ever.
///
/// # Errors
/// `Invalid` for anything else.
pub fn keep_for(text: &str) -> Result<Option<Duration>> {
    let wrong = || {
        Error::invalid("expire-in", format!("`{text}` is no time to keep something"))
            .hint("write a number and a unit, such as `3 days` or `1 week`, or `never`")
    };
    let text = text.trim();
    if text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = unit(&rest[..letters]).ok_or_else(wrong)?;
        total = number.checked_mul(unit).and_then(|n| n.checked_add(total)).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start_matches([',', ' ']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Some(Duration::from_secs(total))) }
}

/// Seconds of a unit. A month has 30 days and a year 365, as in GitLab.
fn unit(word: &str) -> Option<u64> {
    Some(match word.to_ascii_lowercase().trim_end_matches('s') {
        "" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hr" | "hour" => 3600,
        "d" | "day" => 86_400,
        "w" | "wk" | "week" => 604_800,
        "mo" | "mth" | "month" => 2_592_000,
        "y" | "yr" | "year" => 31_536_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |text: &str| keep_for(text).unwrap().map(|d| d.as_secs());
        assert_eq!(seconds("never"), None);
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("3 mins 4 sec"), Some(184));
        assert_eq!(seconds("2h20min"), Some(8400));
        assert_eq!(seconds("1 week and 1 day"), Some(691_200));
        for wrong in ["", "soon", "3 blinks", "-1 day", "99999999999999999999 days"] {
            assert!(keep_for(wrong).is_err(), "{wrong}");
        }
    }
}
