//! Sizes, times and states as people read them.

use std::fmt;

use cofferdam_types::Timestamp;

/// A number of bytes: `17 B`, `1.2 kB`, `34 MB` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let (mut tenths, mut unit) = (self.0 / 100, 0);
        while tenths >= 10_000 && unit + 1 < UNITS.len() {
            (tenths, unit) = (tenths / 1000, unit + 1);
        }
        if tenths < 100 {
            write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        } else {
            write!(f, "{} {}", tenths / 10, UNITS[unit])
        }
    }
}

/// A moment: `2026-01-31 14:05:09` in UTC; [`When::machine`] is the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(pub Timestamp);

impl When {
    /// RFC 3339, for the `datetime` attribute.
    #[must_use]
    pub fn machine(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        write!(f, "{} {}", text.get(..10).unwrap_or(&text), text.get(11..19).unwrap_or(""))
    }
}

/// A length of time: `7 s`, `3 min 20 s`, `2 h 5 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting(pub u64);

impl Lasting {
    /// From one moment to another.
    #[must_use]
    pub fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<Self> {
        Some(Self(to?.since(from?).as_secs()))
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s @ 0..60 => write!(f, "{s} s"),
            s @ 60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            s => write!(f, "{} h {} min", s / 3600, s % 3600 / 60),
        }
    }
}

/// The state of a transfer, approval, receipt, medium, want, recording, pipeline or job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(pub String);

impl State {
    /// The colour that it is shown in: `good`, `bad`, `busy`, `wait` or `plain`.
    #[must_use]
    pub fn tone(&self) -> &'static str {
        match self.0.as_str() {
            "published" | "approved" | "used" | "success" | "rehearsed" | "admitted" | "yes" | "filled"
            | "received" => "good",
            "refused" | "rejected" | "failed" | "incomplete" | "no" | "missing" | "lost" => "bad",
            "running" | "preparing" | "packed" | "handed-over" => "busy",
            "quarantined"
            | "partial"
            | "open"
            | "pending"
            | "created"
            | "manual"
            | "yanked"
            | "waiting_for_resource" => "wait",
            _ => "plain",
        }
    }

    /// Whether it will change by itself.
    #[must_use]
    pub fn moves(&self) -> bool {
        matches!(self.0.as_str(), "created" | "pending" | "running" | "preparing" | "waiting_for_resource")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A fact: its name and its value.
pub type Fact = (&'static str, String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown: Vec<_> = [0, 999, 1000, 1_250, 12_345, 999_999, 1_000_000, 3_400_000_000, u64::MAX]
            .iter()
            .map(|&n| Size(n).to_string())
            .collect();
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "1.2 kB", "12 kB", "999 kB", "1.0 MB", "3.4 GB", "18 EB"]
        );
    }

    #[test]
    fn times_are_readable() {
        let at = Timestamp::parse("2026-01-31T14:05:09.250Z").unwrap();
        assert_eq!(When(at).to_string(), "2026-01-31 14:05:09");
        assert_eq!(Lasting(59).to_string(), "59 s");
        assert_eq!(Lasting(200).to_string(), "3 min 20 s");
        assert_eq!(Lasting(7500).to_string(), "2 h 5 min");
    }
}
