//! NuGet, as far as Mono runs it: with a feed of the second version, whose client that is.

use std::{
    fs,
    io::{Cursor, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::Digest as _;

use crate::{
    Build,
    common::tools::have_sandbox,
    known,
    world::{NONE, World},
};

const ABOUT: &str = "<?xml version=\"1.0\"?><package xmlns=\"http://schemas.microsoft.com/packaging/2010/07/nuspec.xsd\"><metadata>\
    <id>Oars</id><version>1.0.0</version><authors>Ann</authors><description>oars</description></metadata></package>";
const TYPES: &str = "<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
    <Default Extension=\"nuspec\" ContentType=\"application/octet\"/><Default Extension=\"txt\" ContentType=\"application/octet\"/>\
    <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/></Types>";
const PARTS: &str = "<?xml version=\"1.0\"?><Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
    <Relationship Type=\"http://schemas.microsoft.com/packaging/2010/07/manifest\" Target=\"/Oars.nuspec\" Id=\"R1\"/></Relationships>";

/// Whether it is there; asked for help, Mono's console may wait for a terminal that does not answer.
fn have_nuget() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&path).any(|folder| folder.join("nuget").is_file());
    if !here {
        println!("skipped: nuget: there is none on the PATH");
    }
    here
}

fn package() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [
        ("Oars.nuspec", ABOUT),
        ("content/it.txt", "x"),
        ("[Content_Types].xml", TYPES),
        ("_rels/.rels", PARTS),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn feed(base: &str) -> Vec<(String, Vec<u8>)> {
    let package = package();
    let (hash, size) = (STANDARD.encode(sha2::Sha512::digest(&package)), package.len());
    let service = format!(
        "<?xml version=\"1.0\"?><service xml:base=\"{base}\" xmlns=\"http://www.w3.org/2007/app\" xmlns:atom=\"http://www.w3.org/2005/Atom\">\
         <workspace><atom:title>Default</atom:title><collection href=\"Packages\"><atom:title>Packages</atom:title></collection></workspace></service>"
    );
    let data = "http://schemas.microsoft.com/ado/2007/08/dataservices";
    let entry = format!(
        "<?xml version=\"1.0\"?><entry xmlns=\"http://www.w3.org/2005/Atom\" xmlns:d=\"{data}\" xmlns:m=\"{data}/metadata\">\
         <id>{base}Packages(Id='Oars',Version='1.0.0')</id><title type=\"text\">Oars</title><updated>2024-01-01T00:00:00Z</updated>\
         <author><name>Ann</name></author><category term=\"NuGetGallery.V2FeedPackage\" scheme=\"{data}/scheme\"/>\
         <content type=\"application/zip\" src=\"{base}package/oars.1.0.0.nupkg\"/><m:properties><d:Version>1.0.0</d:Version>\
         <d:Dependencies></d:Dependencies><d:IsLatestVersion m:type=\"Edm.Boolean\">true</d:IsLatestVersion><d:PackageHash>{hash}</d:PackageHash>\
         <d:PackageHashAlgorithm>SHA512</d:PackageHashAlgorithm><d:PackageSize m:type=\"Edm.Int64\">{size}</d:PackageSize>\
         <d:Published m:type=\"Edm.DateTime\">2024-01-01T00:00:00</d:Published></m:properties></entry>"
    );
    vec![
        (base.to_owned(), service.into_bytes()),
        (format!("{base}Packages(Id=%27Oars%27,Version=%271.0.0%27)"), entry.into_bytes()),
        (format!("{base}package/oars.1.0.0.nupkg"), package),
    ]
}

#[test]
fn nuget_installs_from_the_source_of_the_person_s_own_settings() {
    if !have_nuget() || !have_sandbox() {
        return;
    }
    let world = World::new(feed("http://nuget.example/v2/"));
    let pair = world.pair(NONE);
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join(".config/NuGet")).unwrap();
    let settings = "<?xml version=\"1.0\"?><configuration><packageSources>\
                    <add key=\"own\" value=\"http://nuget.example/v2/\" /></packageSources></configuration>";
    fs::write(home.path().join(".config/NuGet/NuGet.Config"), settings).unwrap();
    let build = Build {
        files: &[("wanted", b"Oars 1.0.0\n")],
        command: "rm -rf Oars*; nuget install Oars -Version 1.0.0 -Source own -NonInteractive; test -f Oars.1.0.0/content/it.txt",
        person: &[("HOME", home.path().to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:nuget/Oars@1.0.0"]);
}
