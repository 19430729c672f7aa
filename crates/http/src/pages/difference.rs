//! What a transfer would change, as the page of the transfer shows it: each release with its evidence.

use cofferdam_crossing::{Asker, Difference, DifferenceLine};
use cofferdam_web::{
    packages::File,
    transfers::{Line, Proof, Rehearsal, Section},
    values::Size,
};

use super::MANY;

/// Releases by sort.
pub(super) fn sections(difference: Difference) -> Vec<Section> {
    let section = |title, meaning, mut lines: Vec<DifferenceLine>, open| {
        let total = lines.len();
        lines.sort_by(|a, b| (&a.repository, &a.package).cmp(&(&b.repository, &b.package)));
        lines.truncate(MANY);
        Section {
            title,
            meaning,
            total,
            lines: lines.into_iter().map(line).collect(),
            open: open && total > 0,
        }
    };
    // Once it is published, all of it is known.
    let nothing_new = difference.added.is_empty() && difference.updated.is_empty();
    vec![
        section("Added", "packages that are not here yet", difference.added, true),
        section("Updated", "new versions of packages that are here", difference.updated, true),
        section("Known", "releases that are here already", difference.known, nothing_new),
    ]
}

fn line(l: DifferenceLine) -> Line {
    let file = |f: cofferdam_crossing::EvidenceFile| File {
        path: f.path,
        sha256: f.sha256.to_hex(),
        size: Size(f.size),
    };
    Line {
        repository: l.repository,
        package: l.package,
        version: l.version,
        from: l.from,
        size: Size(l.size),
        verdict: l.verdict,
        licences: l.traits.licences.join(", "),
        proofs: l
            .traits
            .known_as
            .iter()
            .map(|purl| format!("says that it is {purl}"))
            .chain(l.traits.proofs)
            .collect(),
        new: l.new,
        scripts: l.traits.scripts.join(", "),
        rehearsals: l.rehearsals.into_iter().map(|n| n + 1).collect(),
        purl: l.purl,
        files: l.files.into_iter().take(MANY).map(file).collect(),
        wanted: l.wanted.iter().take(MANY).map(asker).collect(),
        here: l.here,
    }
}

fn asker(who: &Asker) -> String {
    let by = match who.by.as_str() {
        "clients" => format!("clients of {}, in vain", who.site),
        there if there.starts_with("site:") => who.site.clone(),
        person => format!("{person} at {}", who.site),
    };
    let why = if who.note.is_empty() { String::new() } else { format!(": {}", who.note) };
    let often = if who.asked == 1 { "once".to_owned() } else { format!("{} times", who.asked) };
    format!("{by}, asked {often}{why}")
}

/// Rehearsals, numbered as the releases refer to them.
pub(super) fn rehearsals(difference: &Difference) -> Vec<Rehearsal> {
    let told = |(at, r): (usize, &cofferdam_crossing::Rehearsal)| Rehearsal {
        n: at + 1,
        command: r.command.clone(),
        site: r.site.clone(),
        at: r.at.clone(),
        recording: r.recording.clone(),
        number: r.number,
        collection: r.collection.clone(),
        used: r.used.len(),
        outside: r.outside,
        network: r.network.clone(),
        exit_code: r.exit_code,
        in_vain: r.in_vain,
        platform: r.platform.clone(),
        proof: proof(&r.proof),
    };
    difference.rehearsals.iter().enumerate().map(told).collect()
}

fn proof(proof: &cofferdam_crossing::Proof) -> Proof {
    let tree = |tree: &Option<cofferdam_crossing::Tree>| {
        tree.as_ref().map(|t| format!("{} files, {}", t.files, t.sha256)).unwrap_or_default()
    };
    Proof {
        holds: proof.holds,
        troubles: proof.troubles.clone(),
        files: proof.files,
        carried: proof.carried,
        inputs: tree(&proof.inputs),
        result: tree(&proof.result),
        network: proof.network.map(|digest| digest.to_hex()).unwrap_or_default(),
        refused: proof.refused,
    }
}

/// Git projects with their references.
pub(super) fn projects(difference: &Difference) -> Vec<(String, Vec<(String, String)>)> {
    let refs = |value: &serde_json::Value| {
        let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let all = value.as_object().into_iter().flatten();
        all.take(MANY).map(|(name, sha)| (name.clone(), text(sha))).collect()
    };
    difference.projects.iter().map(|(path, value)| (path.clone(), refs(value))).collect()
}
