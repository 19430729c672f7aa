//! Maven, with a plugin and a dependency that the test makes itself.

use std::{
    fs,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Build, addresses,
    common::tools::{have, have_sandbox},
    world::{NONE, World},
};

const BASE: &str = "http://repo.example/maven2/";

const MOJO: &str = r#"
import org.apache.maven.plugin.Mojo;
import org.apache.maven.plugin.logging.Log;
public class Sail implements Mojo {
    private Log log;
    public void execute() {
        try { java.nio.file.Files.writeString(java.nio.file.Path.of("sailed.txt"), "at noon\n"); }
        catch (java.io.IOException e) { throw new RuntimeException(e); }
    }
    public void setLog(Log log) { this.log = log; }
    public Log getLog() { return log; }
}
"#;

const PLUGIN: &str = "<plugin><groupId>harbour</groupId><artifactId>ferry-maven-plugin</artifactId><version>1.0</version>\
    <goalPrefix>ferry</goalPrefix><mojos><mojo><goal>sail</goal><implementation>Sail</implementation><language>java</language><instantiationStrategy>per-lookup</instantiationStrategy>\
    <requiresDependencyResolution>compile</requiresDependencyResolution></mojo></mojos></plugin>";

/// Mirrors are a matter of settings; a mirror of everything is also what lets Maven speak plain HTTP.
const SETTINGS: &str = "<settings><mirrors><mirror><id>harbour</id><mirrorOf>*</mirrorOf>\
    <url>http://repo.example/maven2</url></mirror></mirrors></settings>";

const PROJECT: &str = "<project><modelVersion>4.0.0</modelVersion><groupId>harbour</groupId><artifactId>boat</artifactId>\
    <version>1</version><packaging>pom</packaging>\
    <dependencies><dependency><groupId>harbour</groupId><artifactId>oars</artifactId><version>1.0</version></dependency></dependencies>\
    <build><plugins><plugin><groupId>harbour</groupId><artifactId>ferry-maven-plugin</artifactId><version>1.0</version>\
    <executions><execution><phase>validate</phase><goals><goal>sail</goal></goals></execution></executions></plugin></plugins></build>\
    </project>";

/// For Javas that run for a moment.
const QUICK: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";

/// Where Maven's own libraries are, as it says.
fn plugin_api() -> Option<PathBuf> {
    let said = Command::new("mvn").args(["-B", "--version"]).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let home = said.lines().find_map(|line| line.strip_prefix("Maven home: "))?.trim().to_owned();
    let libraries = fs::read_dir(Path::new(&home).join("lib")).ok()?.flatten();
    let mut found = libraries.map(|entry| entry.path());
    found.find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("maven-plugin-api"))
    })
}

/// A jar of these files.
fn jar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn plugin(api: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("Sail.java");
    fs::write(&source, MOJO).unwrap();
    let mut javac = Command::new("javac");
    javac
        .args(QUICK.split(' ').map(|option| format!("-J{option}")))
        .arg("-cp")
        .arg(api)
        .arg("-d")
        .arg(folder.path());
    let made = javac.arg(source).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let class = fs::read(folder.path().join("Sail.class")).unwrap();
    jar(&[("META-INF/maven/plugin.xml", PLUGIN.into()), ("Sail.class", class)])
}

/// The two files of an artefact.
fn artefact(group: &str, name: &str, version: &str, packaging: &str, jar: Vec<u8>) -> [(String, Vec<u8>); 2] {
    let place = format!("{BASE}{}/{name}/{version}/{name}-{version}", group.replace('.', "/"));
    let pom = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>{group}</groupId><artifactId>{name}</artifactId>\
         <version>{version}</version><packaging>{packaging}</packaging></project>"
    );
    [(format!("{place}.pom"), pom.into_bytes()), (format!("{place}.jar"), jar)]
}

#[test]
fn maven_runs_a_plugin_and_resolves_a_dependency() {
    if !have("javac") || !have_sandbox() {
        return;
    }
    let Some(api) = plugin_api() else {
        println!("skipped: mvn: there is no Maven on the PATH that says where its libraries are");
        return;
    };
    let empty = jar(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n".to_vec())]);
    let world = World::new(
        [
            artefact("harbour", "ferry-maven-plugin", "1.0", "maven-plugin", plugin(&api)),
            artefact("harbour", "oars", "1.0", "jar", empty.clone()),
            // Maven 3 gives it to every plugin that has no other.
            artefact("org.codehaus.plexus", "plexus-utils", "1.1", "jar", empty),
        ]
        .concat(),
    );
    let pair = world.pair(NONE);
    let build = Build {
        files: &[
            ("pom.xml", PROJECT.as_bytes()),
            ("settings.xml", SETTINGS.as_bytes()),
            (".mvn/maven.config", b"--settings\nsettings.xml\n--batch-mode\n"),
            (".mvn/jvm.config", QUICK.as_bytes()),
        ],
        command: "rm -f sailed.txt; mvn --quiet validate; grep -q noon sailed.txt; test -d ~/.m2/repository/harbour",
        person: &[],
    };
    let recorded = build.crosses(&pair, world);
    let found = addresses(&recorded);
    for part in ["ferry-maven-plugin-1.0.jar", "oars-1.0.jar"] {
        assert!(found.iter().any(|url| url.ends_with(part)), "{part}: {found:?}");
    }
}
