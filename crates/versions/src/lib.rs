//! The version order of every ecosystem, in one place: what is newer, and what is the latest.
//!
//! Everything here is pure, total and infallible: upstreams hold versions that no standard knows,
//! and a list must still have one order. This crate must never decide whether a version may be
//! published; that is the format's rule.

mod composer;
mod gem;
mod maven;
mod nuget;
mod number;

use std::{cmp::Ordering, str::FromStr as _};

/// The longest text read as a version, in bytes; a longer one counts as invalid.
const LIMIT: usize = 1024;

/// By which rules versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Python's versions (PEP 440).
    Pep440,
    /// Semantic Versioning 2.0.0 (section 11), as npm, Cargo and Go use it.
    Semver,
    /// Maven's artifacts (POM reference, "Version Order Specification").
    Maven,
    /// RubyGems (`Gem::Version`).
    Gem,
    /// PHP's packages as Composer writes them out and PHP compares them.
    Composer,
    /// NuGet: semantic versions with up to four numbers.
    NuGet,
}

/// A version that was read; two of one scheme are compared as it says.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parsed {
    Pep440(pep440_rs::Version),
    Semver(semver::Version),
    Maven(maven::Version),
    Gem(gem::Version),
    Composer(composer::Version),
    NuGet(nuget::Version),
}

fn parse(scheme: Scheme, text: &str) -> Option<Parsed> {
    if text.len() > LIMIT {
        return None;
    }
    match scheme {
        // Wheel file names write `_` where the version had `-` (PEP 427, "Escaping and Unicode").
        Scheme::Pep440 => pep440_rs::Version::from_str(text)
            .or_else(|_| pep440_rs::Version::from_str(&text.replace('_', "-")))
            .ok()
            .map(Parsed::Pep440),
        Scheme::Semver => semver::Version::parse(text).ok().map(Parsed::Semver),
        Scheme::Maven => maven::Version::of(text).map(Parsed::Maven),
        Scheme::Gem => gem::Version::of(text).map(Parsed::Gem),
        Scheme::Composer => composer::Version::of(text).map(Parsed::Composer),
        Scheme::NuGet => nuget::Version::of(text).map(Parsed::NuGet),
    }
}

/// Orders two versions. Invalid texts are below all valid ones; what the scheme calls equal is
/// ordered by its text, so that only identical texts are equal. Semver's build metadata, which has
/// no precedence, decides before the text does.
#[must_use]
pub fn compare(scheme: Scheme, a: &str, b: &str) -> Ordering {
    // None is below every version.
    parse(scheme, a).cmp(&parse(scheme, b)).then_with(|| a.cmp(b))
}

/// How two versions stand by the scheme alone, as advisories compare them: what the scheme calls equal is equal, build
/// metadata has no part in it, and a leading `v` and missing numbers (`v1.2`) are read as people mean them. None when
/// one of them is no version of the scheme.
#[must_use]
pub fn precedence(scheme: Scheme, a: &str, b: &str) -> Option<Ordering> {
    Some(match (lenient(scheme, a)?, lenient(scheme, b)?) {
        (Parsed::Semver(x), Parsed::Semver(y)) => x.cmp_precedence(&y),
        (x, y) => x.cmp(&y),
    })
}

fn lenient(scheme: Scheme, text: &str) -> Option<Parsed> {
    let Scheme::Semver = scheme else { return parse(scheme, text) };
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    parse(scheme, text).or_else(|| {
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let missing = match numbers.split('.').count() {
            1 => ".0.0",
            2 => ".0",
            _ => return None,
        };
        parse(scheme, &format!("{numbers}{missing}{rest}"))
    })
}

/// Whether a version is valid and final: neither a pre-release nor one in development.
#[must_use]
pub fn is_final(scheme: Scheme, version: &str) -> bool {
    match parse(scheme, version) {
        Some(Parsed::Pep440(version)) => !version.any_prerelease(),
        Some(Parsed::Semver(version)) => version.pre.is_empty(),
        Some(Parsed::Maven(version)) => version.is_final(),
        Some(Parsed::Gem(version)) => version.is_final(),
        Some(Parsed::Composer(version)) => version.is_final(),
        Some(Parsed::NuGet(version)) => version.is_final(),
        None => false,
    }
}

/// The greatest final version; where there is none, the greatest of all.
pub fn latest<'a>(scheme: Scheme, versions: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    versions
        .into_iter()
        .max_by(|a, b| is_final(scheme, a).cmp(&is_final(scheme, b)).then_with(|| compare(scheme, a, b)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(scheme: Scheme, mut versions: Vec<&str>) -> Vec<&str> {
        versions.sort_by(|a, b| compare(scheme, a, b));
        versions
    }

    #[test]
    fn python_versions_follow_pep_440() {
        let order =
            ["junk", "1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.0", "1.0+local", "1.0.post1", "1!0.1"];
        let mut shuffled = order.to_vec();
        shuffled.reverse();
        assert_eq!(sorted(Scheme::Pep440, shuffled), order);
    }

    #[test]
    fn semantic_versions_follow_precedence_and_then_build() {
        let order =
            ["01.2.3", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.9", "1.0.0-rc.10", "1.0.0", "1.0.0+1"];
        let mut shuffled = order.to_vec();
        shuffled.reverse();
        assert_eq!(sorted(Scheme::Semver, shuffled), order);
    }

    /// Each is below the next one, and those that stand together are equal.
    #[track_caller]
    fn in_order(scheme: Scheme, rows: &[&[&str]]) {
        for (at, row) in rows.iter().enumerate() {
            for a in *row {
                for (other, b) in rows.iter().enumerate().flat_map(|(n, row)| row.iter().map(move |b| (n, b)))
                {
                    assert_eq!(precedence(scheme, a, b), Some(at.cmp(&other)), "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn mavens_order_is_that_of_its_specification() {
        // "Version Order Specification", with its own examples.
        in_order(
            Scheme::Maven,
            &[
                &["1-a1", "1-alpha-1", "1.0-ALPHA-1"],
                &["1-beta-2"],
                &["1-m3", "1.0.0.M3"],
                &["1-rc", "1-cr", "1.0.0.RC"],
                &["1-snapshot", "1.0-SNAPSHOT"],
                &["1", "1.0.0", "1.ga", "1-ga", "1-final", "1.0.0.Final", "1-0", "1.", "1-", "1.0.0-0.0.0"],
                &["1-sp"],
                &["1-foo", "1.foo", "1.0.0-foo.0.0"],
                &["1-foo2"],
                &["1-foo10"],
                &["1-1"],
                &["1.1"],
                &["2.0.20260101120000123456789"],
            ],
        );
        in_order(Scheme::Maven, &[&["1-sp-1"], &["1-ga-1"]]);
        in_order(Scheme::Maven, &[&["1-ga.1"], &["1-sp.1"]]);
        assert_eq!(precedence(Scheme::Maven, "1 0", "1"), None);
    }

    #[test]
    fn gems_with_a_letter_come_before_the_release() {
        in_order(
            Scheme::Gem,
            &[
                &["0.9"],
                &["1.0.a", "1.a"],
                &["1.0.a.2"],
                &["1.0.b1"],
                &["1.0-1", "1.pre.1"],
                &["1", "1.0.0"],
                &["1.0.1"],
                &["1.10"],
            ],
        );
        for junk in ["1..0", "a", "1.0+1", "v1", "1_0"] {
            assert_eq!(precedence(Scheme::Gem, junk, "1"), None, "{junk}");
        }
    }

    #[test]
    fn composers_versions_are_written_out_before_they_are_compared() {
        in_order(
            Scheme::Composer,
            &[
                &["1.0-dev"],
                &["1.0-alpha.1", "v1.0.0a1"],
                &["1.0beta2", "1.0.0.0-beta2"],
                &["1.0-RC1-dev"],
                &["1.0-rc1"],
                &["1", "1.0+build", "1.0.0.0", "1.0-stable", "1.0@dev"],
                &["1.0-p1", "1.0-patch1", "1.0pl1"],
                &["1.0.1"],
                &["1.x-dev"],
                &["2.0"],
                &["2010.01.02"],
                &["20100102-203040"],
            ],
        );
        for branch in ["dev-main", "main", "1.0.0.0.0", "1.0-beta-"] {
            assert_eq!(precedence(Scheme::Composer, branch, "1"), None, "{branch}");
        }
    }

    #[test]
    fn nugets_versions_have_up_to_four_numbers_and_labels_without_case() {
        in_order(
            Scheme::NuGet,
            &[
                &["1.0.0-alpha", "1.0-ALPHA"],
                &["1.0.0-alpha.1"],
                &["1.0.0-beta.2"],
                &["1.0.0-beta.10"],
                &["1.0.0-beta.x"],
                &["1", "1.0", "1.0.0.0", "1.00.0+meta"],
                &["1.0.0.1"],
                &["1.0.1"],
            ],
        );
        for junk in ["1.0.0.0.0", "1.0-", "x", "1.0.0-a..b", "v1"] {
            assert_eq!(precedence(Scheme::NuGet, junk, "1"), None, "{junk}");
        }
    }

    #[test]
    fn precedence_is_the_schemes_alone_and_reads_what_advisories_write() {
        let semver = |a, b| precedence(Scheme::Semver, a, b);
        assert_eq!(semver("1.0.0+a", "1.0.0+b"), Some(Ordering::Equal));
        assert_eq!(semver("v1.2", "1.2.0"), Some(Ordering::Equal));
        assert_eq!(semver("1-rc.1", "1.0.0"), Some(Ordering::Less));
        assert_eq!(semver("1.2.3.4", "1.0.0"), None);
        assert_eq!(precedence(Scheme::Pep440, "1.0", "1.0.0"), Some(Ordering::Equal));
        assert_eq!(precedence(Scheme::Pep440, "1.0", "junk"), None);
    }

    #[test]
    fn the_latest_is_final_unless_nothing_is() {
        assert_eq!(latest(Scheme::Semver, ["1.0.0", "2.0.0-rc.1", "junk"]), Some("1.0.0"));
        assert_eq!(latest(Scheme::Semver, ["2.0.0-rc.1", "junk", "2.0.0-rc.2"]), Some("2.0.0-rc.2"));
        assert_eq!(latest(Scheme::Pep440, ["1.0", "1.0.post1", "1.1.dev3"]), Some("1.0.post1"));
        assert_eq!(latest(Scheme::Pep440, []), None);
    }

    const SCHEMES: [Scheme; 6] =
        [Scheme::Pep440, Scheme::Semver, Scheme::Maven, Scheme::Gem, Scheme::Composer, Scheme::NuGet];

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-2](\\.[0-2]){0,3}((a|b|rc|\\.post|\\.dev)[0-2])?(\\+[a-b0-1])?",
            "[0-1]\\.[0-1]\\.[0-1](-(a|b|[0-2])(\\.[0-2])?)?(\\+[0-1a]{1,2})?",
            "[0-9a-z.+!_-]{0,6}",
            "[0-2]([.-](0|1|2|alpha|b|m|rc|cr|snapshot|ga|final|sp|foo)){0,4}",
            "v?[0-2](\\.[0-2x]){0,3}(-(dev|alpha|beta|rc|pl|stable)[.-]?[0-2]?)?(-dev)?",
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in texts(), b in texts(), c in texts()) {
            for scheme in SCHEMES {
                let cmp = |x: &str, y: &str| compare(scheme, x, y);
                prop_assert_eq!(cmp(&a, &b), cmp(&b, &a).reverse());
                prop_assert_eq!(cmp(&a, &b).is_eq(), a == b);
                if cmp(&a, &b).is_le() && cmp(&b, &c).is_le() {
                    prop_assert!(cmp(&a, &c).is_le(), "{} {} {}", a, b, c);
                }
            }
        }

        #[test]
        fn the_latest_is_one_of_them_and_no_final_one_is_newer(all in prop::collection::vec(texts(), 1..8)) {
            for scheme in SCHEMES {
                let found = latest(scheme, all.iter().map(String::as_str)).unwrap();
                prop_assert!(all.iter().any(|v| v == found));
                for other in all.iter().filter(|v| is_final(scheme, v)) {
                    prop_assert!(is_final(scheme, found) && compare(scheme, found, other).is_ge());
                }
            }
        }
    }
}
