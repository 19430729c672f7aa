//! Our own want list: what it takes, and how it refuses what it does not know.

use cofferdam_lockfiles::read;

use crate::check;

#[test]
fn a_want_list_has_everything_that_no_lock_file_names() {
    check(
        "want/cofferdam.want",
        &[
            "pypi flask (>=3,<4)",
            "pypi requests latest(3) for three newest for the training room on any, linux-x86_64",
            "pypi six 1.16.0",
            "pypi twice 1.0",
            "pypi twice 2.0",
            "npm @s/a (^1.2)",
            "npm left-pad 1.3.0",
            "maven com.example:lib ([1,2))",
            "oci host.example/library/alpine 3.20",
            "helm db 12.1.0 at https://charts.example/stable",
            "git https://git.example/group/tool.git v1.2",
            "url https://files.example/tool-1.2.tar.gz *",
            "url https://files.example/x.zip * sha256:aa",
            "advisories npm *",
            "advisories pypi *",
        ],
        &[],
        &[],
    );
}

fn refused(text: &str) -> (String, String) {
    let error = read("cofferdam.want", text).unwrap_err();
    assert_eq!(error.code(), "lock-file");
    (error.to_string(), error.advice().unwrap().to_owned())
}

#[test]
fn what_is_not_known_is_refused_with_its_line_and_the_known_words() {
    for (text, line, why, todo) in [
        ("\nimage = []\n", 2, "`image`", "images, git, urls, advisories"),
        ("[oci]\nx = '1'\n", 1, "`oci`", "pypi, npm, cargo, golang, maven, deb, helm"),
        ("[pypi]\nx = { versoin = '1' }\n", 2, "`versoin`", "version, latest, platforms, source, note"),
        ("[pypi]\nx = 1\n", 2, "`x` is no text", "1.2.3"),
        ("[pypi]\n\n\"a b\" = '1'\n", 3, "no name of a pypi package", "1.2.3"),
        ("[pypi]\nx = { latest = 0 }\n", 2, "from 1 to 1000", "latest"),
        ("[pypi]\nx = { latest = '3' }\n", 2, "from 1 to 1000", "latest"),
        ("[pypi]\nx = { latest = 3, version = '1' }\n", 2, "both", "latest"),
        ("[pypi]\nx = { platforms = 'linux' }\n", 2, "list of platforms", "latest"),
        ("[pypi]\nx = { source = 'somewhere' }\n", 2, "no address", "latest"),
        ("[npm]\nx = ''\n", 2, "cannot be one", "1.2.3"),
        ("images = ['a b']\n", 1, "no image's name", "name:tag"),
        ("git = ['somewhere']\n", 1, "git repository", "#v1"),
        ("urls = ['ftp://h.example/x']\n", 1, "no address", "sha256"),
        ("urls = ['https://h.example/x#sha256=12']\n", 1, "no address", "sha256"),
        ("advisories = ['oci']\n", 1, "`oci`", "pypi, npm"),
        ("pypi = 'x'\n", 1, "no table", "[pypi]"),
        ("images = 'x'\n", 1, "no list", "images"),
        ("images = [1]\n", 1, "no text", "quotes"),
        ("a = \n", 1, "not valid TOML", "write the file anew"),
    ] {
        let (message, advice) = refused(text);
        assert!(message.starts_with(&format!("cofferdam.want, line {line}: ")), "{text}: {message}");
        assert!(message.contains(why), "{text}: {message}");
        assert!(advice.contains(todo), "{text}: {advice}");
    }
}

#[test]
fn a_bare_version_is_that_version_and_everything_else_a_range() {
    let text = "[cargo]\na = '1.3.0'\nb = '=1.3.0'\nh = '1.3'\ni = '=1.3'\nc = '^1'\nd = '1.x'\ne = '*'\nf = '1 - 2'\ng = '1.0.0-rc.1+x'\n";
    let reading = read("cofferdam.want", text).unwrap();
    let versions: Vec<String> = reading.items.iter().map(|item| format!("{:?}", item.version)).collect();
    let exact = |v: &str| format!("Exact({v:?})");
    let range = |v: &str| format!("Range({v:?})");
    let expected = [
        exact("1.3.0"),
        exact("1.3.0"),
        range("^1"),
        range("1.x"),
        "Any".into(),
        range("1 - 2"),
        exact("1.0.0-rc.1+x"),
        range("1.3"),
        range("=1.3"),
    ];
    assert_eq!(versions, expected);
}

#[test]
fn package_urls_exist_for_exact_versions_of_ecosystems_that_have_them() {
    let text = "images = ['a:1']\ngit = ['https://h.example/r.git#v1']\n[npm]\n'@s/a' = '1.0.0'\nb = '^1'\n[maven]\n'g.h:a' = '2'\n[golang]\n'm.example/x' = 'v1'\n[deb]\ncurl = '8'\n";
    let reading = read("cofferdam.want", text).unwrap();
    let mut purls: Vec<String> =
        reading.items.iter().filter_map(|i| i.purl()).map(|p| p.to_string()).collect();
    purls.sort();
    assert_eq!(purls, ["pkg:golang/m.example/x@v1", "pkg:maven/g.h/a@2", "pkg:npm/%40s/a@1.0.0"]);
}
