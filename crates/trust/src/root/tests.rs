//! The attacks that The Update Framework names, and people who sign more than they may.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const ISSUED: Timestamp = Timestamp(1_700_000_000_000_000);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

/// A root whose keys are `(seed, person)` and whose roles are `(role, threshold, seeds)`.
fn root(version: u64, people: &[(u8, &str)], roles: &[(Role, usize, &[u8])]) -> Root {
    let keys = people.iter().map(|(n, person)| {
        let key = key(*n).verifying_key();
        (key.id(), RootKey { key, person: (*person).to_owned() })
    });
    let roles = roles.iter().map(|(role, threshold, seeds)| {
        let keys = seeds.iter().map(|n| key(*n).id()).collect();
        (*role, RoleKeys { keys, threshold: *threshold })
    });
    let expires = ISSUED.plus(365 * DAY);
    let (keys, roles) = (keys.collect(), roles.collect());
    Root { version, issued: ISSUED, expires, distinct_persons: true, keys, roles }
}

const PEOPLE: &[(u8, &str)] = &[(1, "Anna"), (2, "Bert"), (3, "Cleo"), (4, "Dora"), (5, "Anna")];

/// Two of Anna, Bert and Cleo hold the root; Anna and Bert collect, Anna (another key), Bert and Dora
/// release.
fn usual(version: u64) -> Root {
    let roles: &[(Role, usize, &[u8])] =
        &[(Role::Root, 2, &[1, 2, 3]), (Role::Collector, 1, &[1, 2]), (Role::Releaser, 1, &[2, 4, 5])];
    root(version, PEOPLE, roles)
}

/// The next version, in which Dora and Emil have the root.
fn handed_over() -> Root {
    let mut next = root(2, &[(4, "Dora"), (6, "Emil")], &[(Role::Root, 2, &[4, 6])]);
    next.issued = ISSUED.plus(DAY);
    next
}

fn by(root: &Root, seeds: &[u8]) -> Envelope {
    let keys: Vec<SigningKey> = seeds.iter().map(|n| key(*n)).collect();
    root.sign(&keys.iter().collect::<Vec<_>>()).unwrap()
}

fn code<T>(result: Result<T>) -> &'static str {
    result.err().map_or("none", |e| e.code())
}

#[test]
fn the_first_root_is_believed_by_its_fingerprint_and_its_own_threshold() {
    let first = usual(1);
    let aloud = first.fingerprint().unwrap();
    let envelope = Envelope::from_json(&by(&first, &[1, 3]).to_json().unwrap()).unwrap();
    assert_eq!(Root::first(&envelope, aloud).unwrap(), first);
    assert_eq!(Root::read_unverified(&envelope).unwrap(), first);
    assert_eq!(code(Root::first(&by(&first, &[1]), aloud)), "too-few-signatures");

    let mut other = first.clone();
    other.expires = other.expires.plus(DAY);
    assert_eq!(code(Root::first(&by(&other, &[1, 3]), aloud)), "root-fingerprint");
    let text = dsse::sign("text/plain", &first.to_json().unwrap(), &[&key(1), &key(2)]);
    assert_eq!(code(Root::first(&text, aloud)), "wrong-payload-type");
}

#[test]
fn people_sign_a_root_one_after_another_on_their_own_machines() {
    let mut envelope = by(&usual(1), &[1]);
    envelope.add_signature(&key(2)).unwrap();
    assert_eq!(code(envelope.add_signature(&key(2))), "already-signed");
    Root::first(&envelope, usual(1).fingerprint().unwrap()).unwrap();
}

#[test]
fn a_rotation_is_signed_by_the_old_and_the_new_holders() {
    let next = handed_over();
    assert_eq!(Root::rotate(&usual(1), &by(&next, &[1, 2, 4, 6])).unwrap(), next);
    assert_eq!(
        Root::rotate(&usual(1), &by(&usual(2), &[1, 2])).unwrap(),
        usual(2),
        "the same holders sign once"
    );
}

#[test]
fn key_compromise_of_one_threshold_rotates_nothing() {
    // The thief has all old root keys, or makes a root of keys of their own.
    assert_eq!(code(Root::rotate(&usual(1), &by(&handed_over(), &[1, 2, 3]))), "too-few-signatures");
    assert_eq!(code(Root::rotate(&usual(1), &by(&handed_over(), &[4, 6]))), "too-few-signatures");
    // One stolen key of two that are needed.
    assert_eq!(code(Root::rotate(&usual(1), &by(&handed_over(), &[1, 4, 6]))), "too-few-signatures");
}

#[test]
fn a_mix_of_old_and_new_holders_is_neither_threshold() {
    assert_eq!(code(Root::rotate(&usual(1), &by(&handed_over(), &[1, 4]))), "too-few-signatures");
    assert_eq!(code(Root::rotate(&usual(1), &by(&handed_over(), &[1, 2, 6]))), "too-few-signatures");
}

#[test]
fn rollback_to_an_older_root_is_refused() {
    assert_eq!(code(Root::rotate(&usual(5), &by(&usual(4), &[1, 2]))), "root-rollback");
    assert_eq!(code(Root::rotate(&usual(5), &by(&usual(1), &[1, 2]))), "root-rollback");
    // After the holders changed, the old ones have no say at all.
    assert_eq!(code(Root::rotate(&handed_over(), &by(&usual(1), &[1, 2]))), "too-few-signatures");
}

#[test]
fn fast_forward_over_a_version_is_refused() {
    for version in [3, 4, u64::MAX] {
        assert_eq!(code(Root::rotate(&usual(1), &by(&usual(version), &[1, 2]))), "root-skipped");
    }
    let last = usual(u64::MAX);
    assert_eq!(code(Root::rotate(&last, &by(&last, &[1, 2]))), "root-unchanged");
}

#[test]
fn the_same_version_with_other_content_is_equivocation() {
    let mut other = usual(1);
    other.expires = other.expires.plus(DAY);
    assert_eq!(code(Root::rotate(&usual(1), &by(&other, &[1, 2]))), "root-equivocation");
    assert_eq!(code(Root::rotate(&usual(1), &by(&usual(1), &[1, 2]))), "root-unchanged");
}

#[test]
fn freeze_is_told_and_an_expired_root_can_still_hand_over() {
    let current = usual(1);
    assert!(!current.expired(ISSUED));
    assert!(!current.expired(Timestamp(current.expires.0 - 1)));
    assert!(current.expired(current.expires) && current.expired(current.expires.plus(DAY)));
    let mut next = handed_over();
    next.issued = current.expires.plus(DAY);
    next.expires = next.issued.plus(DAY);
    assert!(!Root::rotate(&current, &by(&next, &[1, 2, 4, 6])).unwrap().expired(next.issued));
}

#[test]
fn a_duplicate_signer_is_refused_even_when_there_are_enough() {
    let twice = by(&usual(2), &[1, 1]);
    assert_eq!(code(Root::rotate(&usual(1), &twice)), "duplicate-signature");
    let enough = by(&usual(2), &[1, 2, 1]);
    assert_eq!(code(Root::rotate(&usual(1), &enough)), "duplicate-signature");
}

#[test]
fn a_stripped_signer_and_an_arbitrary_key_are_told_apart() {
    let mut stripped = by(&usual(2), &[1, 2]);
    stripped.signatures.pop();
    assert_eq!(code(Root::rotate(&usual(1), &stripped)), "too-few-signatures");
    stripped.signatures.clear();
    assert_eq!(code(Root::rotate(&usual(1), &stripped)), "too-few-signatures");
    assert_eq!(code(Root::rotate(&usual(1), &by(&usual(2), &[1, 9]))), "too-few-signatures");
    assert_eq!(code(verify(&usual(1), &[9], &[Role::Collector])), "unknown-signer");
    assert_eq!(code(verify(&usual(1), &[], &[Role::Collector])), "too-few-signatures");
    // Under a name that is trusted, a signature by another key.
    let mut renamed = by(&usual(2), &[1, 9]);
    renamed.signatures[1].keyid = key(2).id().to_string();
    assert_eq!(code(Root::rotate(&usual(1), &renamed)), "signature-invalid");
    // A key of the root without the role.
    assert_eq!(code(Root::rotate(&usual(1), &by(&usual(2), &[1, 4]))), "too-few-signatures");
    // More than enough, one of them unknown: passed over.
    Root::rotate(&usual(1), &by(&usual(2), &[1, 2, 9])).unwrap();
}

#[test]
fn nothing_is_parsed_before_its_signatures_hold() {
    // The payload is no JSON; the first complaint must still be about the signatures.
    let nonsense = dsse::sign(ROOT_PAYLOAD_TYPE, b"{", &[&key(1)]);
    assert_eq!(code(Root::rotate(&usual(1), &nonsense)), "too-few-signatures");
    let signed = dsse::sign(ROOT_PAYLOAD_TYPE, b"{", &[&key(1), &key(2)]);
    assert_eq!(code(Root::rotate(&usual(1), &signed)), "bad-root");
}

#[test]
fn a_root_has_one_text_only_and_endless_data_is_refused() {
    let text = String::from_utf8(usual(2).to_json().unwrap()).unwrap();
    let signed = |text: &str| dsse::sign(ROOT_PAYLOAD_TYPE, text.as_bytes(), &[&key(1), &key(2)]);
    Root::rotate(&usual(1), &signed(&text)).unwrap();
    for other in [
        format!(" {text}"),
        format!("{text}\n"),
        text.replacen("\"version\":2", "\"version\":2.0", 1),
        text.replacen("\"version\":2", "\"version\":3,\"version\":2", 1),
        text.replacen("\"version\":2", "\"version\":2,\"extra\":1", 1),
        text.replacen(".000Z", "Z", 1),
        text.replacen("Anna", "\\u0041nna", 1),
        text.replacen("\"distinctPersons\":true,", "", 1),
        text.replacen(&format!("{:?}:{{\"key\"", key(4).id().to_string()), "\"00\":{\"key\"", 1),
    ] {
        assert_ne!(other, text);
        assert_eq!(code(Root::rotate(&usual(1), &signed(&other))), "bad-root", "{other}");
    }
    let endless = " ".repeat(MAX_ROOT_BYTES + 3);
    assert_eq!(code(Root::rotate(&usual(1), &signed(&endless))), "bad-root");
    assert_eq!(code(Root::read_unverified(&signed(&endless))), "bad-root");
}

#[test]
fn a_root_that_nobody_could_use_or_that_trusts_too_little_is_no_root() {
    let wrong = |change: &dyn Fn(&mut Root)| {
        let mut root = usual(1);
        change(&mut root);
        assert_eq!(code(root.sign(&[&key(1)])), "bad-root");
        root.check().unwrap_err().message().to_owned()
    };
    let threshold = |n| move |r: &mut Root| r.roles.get_mut(&Role::Root).unwrap().threshold = n;
    assert!(wrong(&|r| r.version = 0).contains("version"));
    assert!(wrong(&|r| r.expires = r.issued).contains("expires"));
    assert!(wrong(&|r| drop(r.roles.remove(&Role::Root))).contains("nobody"));
    assert!(wrong(&threshold(0)).contains("needs 0"));
    assert!(wrong(&threshold(4)).contains("3 people"));
    assert!(wrong(&|r| drop(r.keys.remove(&key(3).id()))).contains("unknown key"));
    assert!(
        wrong(&|r| r.keys.get_mut(&key(3).id()).unwrap().key = key(9).verifying_key())
            .contains("another key")
    );
    for person in ["", " Cleo", "Cl\neo", &"x".repeat(201), "ANNA", "B ert"] {
        let message = wrong(&|r| r.keys.get_mut(&key(3).id()).unwrap().person = person.to_owned());
        assert!(message.contains("person"), "{person}: {message}");
    }
    // Two keys of one person are one person, unless the root does not ask.
    let mut lonely = root(1, &[(1, "Anna"), (5, "Anna")], &[(Role::Root, 2, &[1, 5])]);
    assert_eq!(code(lonely.check()), "bad-root");
    lonely.distinct_persons = false;
    lonely.check().unwrap();
}

const LETTER: &str = "application/vnd.example.letter";

fn letter(seeds: &[u8]) -> Envelope {
    let keys: Vec<SigningKey> = seeds.iter().map(|n| key(*n)).collect();
    dsse::sign(LETTER, b"hello", &keys.iter().collect::<Vec<_>>())
}

fn verify(root: &Root, seeds: &[u8], roles: &[Role]) -> Result<VerifiedRoles> {
    root.verify_roles(&letter(seeds), LETTER, roles)
}

const BOTH: &[Role] = &[Role::Collector, Role::Releaser];

#[test]
fn each_role_is_filled_by_a_person_of_its_own() {
    let verified = verify(&usual(1), &[1, 4], BOTH).unwrap();
    assert_eq!(verified.payload.payload, b"hello");
    let people: Vec<_> = verified.signed.iter().map(|s| (s.role, s.person.as_str())).collect();
    assert_eq!(people, [(Role::Collector, "Anna"), (Role::Releaser, "Dora")]);
    assert_eq!(code(verify(&usual(1), &[1], BOTH)), "too-few-signatures");
    assert_eq!(code(verify(&usual(1), &[4], BOTH)), "too-few-signatures");
    assert_eq!(code(verify(&usual(1), &[1, 9], BOTH)), "unknown-signer");
}

#[test]
fn one_person_with_two_keys_or_one_key_with_two_roles_is_not_two_people() {
    assert_eq!(code(verify(&usual(1), &[1, 5], BOTH)), "same-person-twice");
    assert_eq!(code(verify(&usual(1), &[2], BOTH)), "same-person-twice");
    let mut loose = usual(1);
    loose.distinct_persons = false;
    assert_eq!(verify(&loose, &[1, 5], BOTH).unwrap().signed.len(), 2);
    assert_eq!(verify(&loose, &[2], BOTH).unwrap().signed.len(), 2);
    // Within one role as well.
    let two = root(1, PEOPLE, &[(Role::Root, 1, &[1]), (Role::Approver, 2, &[1, 2, 5])]);
    assert_eq!(code(verify(&two, &[1, 5], &[Role::Approver])), "same-person-twice");
    verify(&two, &[1, 2, 5], &[Role::Approver]).unwrap();
}

#[test]
fn people_are_placed_where_they_are_needed() {
    // Bert can collect and release; only Anna's signature as a collector lets him release.
    let verified = verify(&usual(1), &[2, 1], BOTH).unwrap();
    let people: Vec<_> = verified.signed.iter().map(|s| (s.role, s.person.as_str())).collect();
    assert_eq!(people, [(Role::Collector, "Anna"), (Role::Releaser, "Bert")]);
    // A chain: each of the first three slots takes the person that the next one needs.
    let chain = root(
        1,
        &[(1, "Anna"), (2, "Bert"), (3, "Cleo"), (4, "Dora")],
        &[
            (Role::Root, 1, &[1, 2, 3, 4]),
            (Role::Collector, 1, &[1, 2, 3]),
            (Role::Releaser, 1, &[1, 2]),
            (Role::Guard, 1, &[1]),
        ],
    );
    let roles = [Role::Root, Role::Collector, Role::Releaser, Role::Guard];
    let signed = verify(&chain, &[1, 2, 3, 4], &roles).unwrap().signed;
    let people: Vec<_> = signed.iter().map(|s| s.person.as_str()).collect();
    assert_eq!(people, ["Dora", "Cleo", "Bert", "Anna"]);
    assert_eq!(code(verify(&chain, &[1, 2, 3], &roles)), "same-person-twice");
}

#[test]
fn a_role_of_nobody_and_no_role_prove_nothing() {
    assert_eq!(code(verify(&usual(1), &[1, 2], &[Role::Guard])), "no-such-role");
    assert_eq!(code(verify(&usual(1), &[1, 2], &[])), "no-such-role");
    let mut unchecked = usual(1);
    unchecked.roles.get_mut(&Role::Collector).unwrap().threshold = 0;
    assert_eq!(code(verify(&unchecked, &[], &[Role::Collector])), "bad-root");
    assert_eq!(
        code(usual(1).verify_roles(&letter(&[1]), "text/plain", &[Role::Collector])),
        "wrong-payload-type"
    );
    // A role that is named twice is one role.
    assert_eq!(verify(&usual(1), &[1], &[Role::Collector, Role::Collector]).unwrap().signed.len(), 1);
}

#[test]
fn a_root_that_nobody_compared_still_needs_its_own_signatures() {
    assert_eq!(Root::self_signed(&by(&usual(1), &[1, 3])).unwrap(), usual(1));
    assert_eq!(code(Root::self_signed(&by(&usual(1), &[1]))), "too-few-signatures");
    assert_eq!(code(Root::self_signed(&letter(&[1, 3]))), "wrong-payload-type");
}

#[test]
fn who_names_a_guard_can_be_told_that_no_guard_is_asked_for() {
    assert_eq!(usual(1).unconsulted().next(), None, "root, collector and releaser are asked for");
    let all: Vec<(Role, usize, &[u8])> = Role::ALL.into_iter().map(|role| (role, 1, &[1][..])).collect();
    let told: Vec<Role> = root(1, &[(1, "Anna")], &all).unconsulted().collect();
    assert_eq!(told, [Role::Receiver, Role::Approver, Role::Guard]);
    let manual = include_str!("../../../../docs/manual/transfers.md");
    assert!(manual.contains(
        "The roles `receiver`, `approver` and `guard` can be written down and are not asked for yet"
    ));
}

#[test]
fn roles_have_names() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
    }
    assert_eq!(code("admin".parse::<Role>()), "bad-role");
}
