//! Whose signatures count.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam_transfer::receipt::{About, Outcome, Receipt};
use cofferdam_trust::{Envelope, STATEMENT_PAYLOAD_TYPE, sign};
use cofferdam_types::Timestamp;

use crate::{
    sender::{CREATED, Forge, Plan, envelope, key, payload, put_envelope, resign, root, root_json},
    table::{Bench, Case},
};

pub const CASES: &[Case] = &[
    Case { name: "arbitrary software: signed by strangers", code: "unknown-signer", make: strangers },
    Case {
        name: "arbitrary software: another header under the old signatures",
        code: "signature-invalid",
        make: other_text,
    },
    Case { name: "arbitrary software: no signature", code: "too-few-signatures", make: unsigned },
    Case { name: "key compromise: the collector's key alone", code: "too-few-signatures", make: one_key },
    Case {
        name: "key compromise: one key signs in the name of both",
        code: "signature-invalid",
        make: in_both_names,
    },
    Case {
        name: "key compromise: one person with two keys in two roles",
        code: "same-person-twice",
        make: one_person,
    },
    Case { name: "key compromise: a key that the root took away", code: "unknown-signer", make: revoked },
    Case { name: "stripped signer", code: "too-few-signatures", make: stripped },
    Case { name: "duplicate signer", code: "duplicate-signature", make: duplicate },
    Case { name: "the root's key signs the transfer itself", code: "too-few-signatures", make: root_signs },
    Case { name: "a root signed by its new keys only", code: "too-few-signatures", make: own_root },
    Case { name: "root rollback", code: "root-rollback", make: root_back },
    Case { name: "root fast-forward", code: "root-skipped", make: root_ahead },
    Case { name: "two roots of one version", code: "root-equivocation", make: root_twice },
    Case { name: "a receipt in the place of the header", code: "bad-header", make: receipt },
    Case { name: "the header's bytes signed as another type", code: "wrong-payload-type", make: other_type },
    Case { name: "the signed envelope in another spelling", code: "bad-header", make: respelled },
    Case { name: "a header that says a thing twice", code: "bad-header", make: said_twice },
    Case { name: "a header with something unknown in it", code: "bad-header", make: unknown_field },
    Case { name: "a header of a later version", code: "unsupported-version", make: later_version },
    Case { name: "a downgrade to an unknown suite", code: "unsupported-version", make: other_suite },
    Case { name: "endless data: the header", code: "too-large", make: endless_header },
    Case { name: "endless data: thousands of signatures", code: "envelope-too-large", make: many_signatures },
    Case { name: "no envelope at all", code: "bad-envelope", make: no_envelope },
    Case { name: "cross-site forwarding", code: "other-destination", make: forwarded },
    Case {
        name: "cross-site forwarding: the folder renamed for this site",
        code: "other-destination",
        make: renamed,
    },
    Case { name: "sealed to somebody else", code: "age-no-recipient", make: sealed_elsewhere },
];

fn resigned(bench: &Bench, keys: &[u8]) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    let keys: Vec<_> = keys.iter().map(|n| key(*n)).collect();
    let text = payload(&folder);
    put_envelope(&folder, &sign(STATEMENT_PAYLOAD_TYPE, &text, &keys.iter().collect::<Vec<_>>()));
    vec![folder]
}

fn strangers(bench: &Bench) -> Vec<PathBuf> {
    resigned(bench, &[8, 9])
}

fn one_key(bench: &Bench) -> Vec<PathBuf> {
    resigned(bench, &[1])
}

fn one_person(bench: &Bench) -> Vec<PathBuf> {
    resigned(bench, &[1, 5])
}

fn root_signs(bench: &Bench) -> Vec<PathBuf> {
    resigned(bench, &[3])
}

fn with_envelope(bench: &Bench, change: impl Fn(&mut Envelope)) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    let mut signed = envelope(&folder);
    change(&mut signed);
    put_envelope(&folder, &signed);
    vec![folder]
}

fn other_text(bench: &Bench) -> Vec<PathBuf> {
    let other = envelope(&bench.next);
    with_envelope(bench, |signed| signed.payload.clone_from(&other.payload))
}

fn unsigned(bench: &Bench) -> Vec<PathBuf> {
    with_envelope(bench, |signed| signed.signatures.clear())
}

fn in_both_names(bench: &Bench) -> Vec<PathBuf> {
    with_envelope(bench, |signed| signed.signatures[1].sig = signed.signatures[0].sig.clone())
}

fn stripped(bench: &Bench) -> Vec<PathBuf> {
    with_envelope(bench, |signed| signed.signatures.truncate(1))
}

fn duplicate(bench: &Bench) -> Vec<PathBuf> {
    with_envelope(bench, |signed| signed.signatures[1] = signed.signatures[0].clone())
}

fn many_signatures(bench: &Bench) -> Vec<PathBuf> {
    with_envelope(bench, |signed| {
        let one = signed.signatures[0].clone();
        signed.signatures = vec![one; 5_000];
    })
}

fn put_root(folder: &Path, name: &str, json: &[u8]) {
    fs::write(folder.join(name), json).unwrap();
}

fn with_roots(bench: &Bench, roots: &[(&str, Vec<u8>)]) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    roots.iter().for_each(|(name, json)| put_root(&folder, name, json));
    vec![folder]
}

fn revoked(bench: &Bench) -> Vec<PathBuf> {
    with_roots(bench, &[("root.2.dsse.json", root_json(&root(2), &[3]))])
}

fn own_root(bench: &Bench) -> Vec<PathBuf> {
    let mut mine = root(2);
    let holder = mine.keys[&key(1).id()].clone();
    mine.keys.insert(key(8).id(), cofferdam_trust::root::RootKey { key: key(8).verifying_key(), ..holder });
    mine.roles.get_mut(&cofferdam_trust::root::Role::Root).unwrap().keys = [key(8).id()].into();
    mine.keys.remove(&key(3).id());
    with_roots(bench, &[("root.2.dsse.json", root_json(&mine, &[8]))])
}

fn root_back(bench: &Bench) -> Vec<PathBuf> {
    let back = root_json(&root(1), &[3]);
    with_roots(bench, &[("root.2.dsse.json", root_json(&root(2), &[3])), ("root.3.dsse.json", back)])
}

fn root_ahead(bench: &Bench) -> Vec<PathBuf> {
    let ahead = root(u64::from(u32::MAX));
    with_roots(bench, &[("root.4294967295.dsse.json", root_json(&ahead, &[3]))])
}

fn root_twice(bench: &Bench) -> Vec<PathBuf> {
    let other = cofferdam_trust::root::Root { version: 1, ..root(2) };
    with_roots(bench, &[("root.2.dsse.json", root_json(&other, &[3]))])
}

fn receipt(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    let receipt = Receipt {
        site: "inside".parse().unwrap(),
        transfer: About { stream: "outside+inside".into(), epoch: 1, seq: 1, header_sha256: bench.identity },
        outcome: Outcome::Published,
        at: Timestamp::from_seconds(CREATED),
        inventory: None,
        unreadable: Vec::new(),
        refused: Vec::new(),
        held: Vec::new(),
    };
    let mut signed = receipt.sign(&key(1)).unwrap();
    signed.add_signature(&key(2)).unwrap();
    put_envelope(&folder, &signed);
    vec![folder]
}

fn other_type(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    put_envelope(&folder, &sign("text/plain", &payload(&folder), &[&key(1), &key(2)]));
    vec![folder]
}

fn respelled(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    let mut json = envelope(&folder).to_json().unwrap();
    json.extend_from_slice(b"\n");
    fs::write(folder.join("header.dsse.json"), json).unwrap();
    vec![folder]
}

fn altered(bench: &Bench, from: &str, to: &str) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    resign(&folder, from, to);
    vec![folder]
}

fn said_twice(bench: &Bench) -> Vec<PathBuf> {
    altered(bench, "\"epoch\":1", "\"epoch\":1,\"epoch\":1")
}

fn unknown_field(bench: &Bench) -> Vec<PathBuf> {
    altered(bench, "\"epoch\":1", "\"epoch\":1,\"exec\":\"sh\"")
}

fn later_version(bench: &Bench) -> Vec<PathBuf> {
    altered(bench, "dev/transfer/v1", "dev/transfer/v2")
}

fn other_suite(bench: &Bench) -> Vec<PathBuf> {
    altered(bench, "sealed-1", "sealed-0")
}

fn endless_header(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    // A sparse file: sixteen mebibytes and one, or a terabyte, are all the same to the attacker.
    fs::File::create(folder.join("header.dsse.json")).unwrap().set_len(1 << 40).unwrap();
    vec![folder]
}

fn no_envelope(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    fs::write(folder.join("header.dsse.json"), "{\"payload\":").unwrap();
    vec![folder]
}

fn forwarded(bench: &Bench) -> Vec<PathBuf> {
    vec![Plan { to: "elsewhere".into(), ..Plan::first() }.write(&bench.folder()).0]
}

fn renamed(bench: &Bench) -> Vec<PathBuf> {
    let folder = forwarded(bench).remove(0);
    let here = folder.with_file_name(bench.plain.file_name().unwrap());
    fs::rename(folder, &here).unwrap();
    vec![here]
}

fn sealed_elsewhere(bench: &Bench) -> Vec<PathBuf> {
    let (folder, _) = Plan { recipient: 9, ..Plan::first() }.write(&bench.folder());
    // The header claims this site's key; the manifest is sealed to another's.
    let mut header = Forge::open(&bench.plain).header;
    let theirs: cofferdam_trust::Statement = serde_json::from_slice(&payload(&folder)).unwrap();
    let theirs: cofferdam_transfer::Header = serde_json::from_value(theirs.predicate).unwrap();
    (header.files, header.manifest, header.payload, header.totals) =
        (theirs.files, theirs.manifest, theirs.payload, theirs.totals);
    vec![Forge { folder, header, lines: Vec::new() }.sign_as_it_is()]
}
