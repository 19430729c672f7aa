//! Whom this site believes, and the checks of the header: the only content that is read before signatures
//! hold.

use std::io::Read as _;

use cofferdam_trust::{
    Envelope, KeyId, STATEMENT_PAYLOAD_TYPE, STATEMENT_TYPE, Statement, VerifiedPayload, VerifyingKey,
    root::{Role, Root},
};
use cofferdam_types::{Sha256, SiteName};

use crate::{
    header::{Header, PREDICATE_FAMILY, PREDICATE_TYPE, Suite, parts, stream_name},
    limits::{
        MAX_HEADER_BYTES, MAX_MANIFEST_BYTES, MAX_PACKS, MAX_README_BYTES, MAX_RECIPIENTS, MAX_ROOTS,
        MAX_VOLUME_BYTES, MAX_VOLUMES, MIN_VOLUME_BYTES,
    },
    medium::Medium,
    name::{self, HEADER, Name, README},
    refusal::{Refusal, from_error},
};

/// Whom this site believes, and who it is.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Who may sign.
    pub authority: Authority,
    /// This site: it must be among the destinations. `None` for a station on the way.
    pub this_site: Option<SiteName>,
}

/// Who may sign a transfer.
#[derive(Clone, Debug)]
pub enum Authority {
    /// Any `threshold` distinct ones of these keys.
    Keys {
        /// The keys.
        keys: Vec<VerifyingKey>,
        /// How many must have signed; at least 1.
        threshold: usize,
    },
    /// The roles *collector* and *releaser* of a root document, and of what it was rotated to.
    Root(Box<Root>),
}

/// A header that is believed.
pub struct Believed {
    pub header: Header,
    pub header_sha256: Sha256,
    pub signers: Vec<KeyId>,
    /// Root documents newer than the site's, in order, each as it came.
    pub roots: Vec<(Root, Vec<u8>)>,
}

pub fn read_header(medium: &Medium, trust: &Trust) -> Result<Believed, Refusal> {
    let bad = |why: String| Refusal::invalid("bad-header", why).at(HEADER);
    let ours = |e| from_error(&e, HEADER);
    let json = small(medium, HEADER)?;
    let envelope = Envelope::from_json(&json).map_err(ours)?;
    // One spelling of the envelope: no byte of the file is free to change.
    if envelope.to_json().map_err(ours)? != json {
        return Err(bad("the envelope is not in its canonical spelling".to_owned()));
    }
    let (verified, roots) = match &trust.authority {
        Authority::Keys { keys, threshold } => {
            (cofferdam_trust::verify(&envelope, keys, *threshold).map_err(ours)?, Vec::new())
        }
        Authority::Root(root) => by_root(medium, root, &envelope)?,
    };
    let header = parse(&verified)?;
    if let Some(site) = trust.this_site.as_ref().filter(|site| !header.destinations.contains(site)) {
        let names: Vec<_> = header.destinations.iter().map(ToString::to_string).collect();
        let text = format!("it is for {}, not for {site}", names.join(", "));
        return Err(Refusal::failed("other-destination", text)
            .at(HEADER)
            .hint("carry it to the site it is for"));
    }
    check(&header, &medium.name)?;
    Ok(Believed { header, header_sha256: Sha256::of(&verified.payload), signers: verified.signers, roots })
}

type Rooted = (VerifiedPayload, Vec<(Root, Vec<u8>)>);

/// Follows the chain of roots on the medium, then asks the newest one.
fn by_root(medium: &Medium, root: &Root, envelope: &Envelope) -> Result<Rooted, Refusal> {
    let mut versions: Vec<u32> = medium
        .names
        .keys()
        .filter_map(|text| match Name::parse(text) {
            Some(Name::Root(version)) => Some(version),
            _ => None,
        })
        .collect();
    versions.sort_unstable();
    if versions.len() > MAX_ROOTS {
        return Err(Refusal::too_large(format!("it has more than {MAX_ROOTS} root documents")));
    }
    let (mut current, mut roots) = (root.clone(), Vec::new());
    for version in versions.into_iter().filter(|v| u64::from(*v) > root.version) {
        let file = name::root(version);
        let json = small(medium, &file)?;
        let next = Envelope::from_json(&json).and_then(|e| Root::rotate(&current, &e));
        current = next.map_err(|e| from_error(&e, &file))?;
        roots.push((current.clone(), json));
    }
    let verified = current.verify_roles(envelope, STATEMENT_PAYLOAD_TYPE, &Role::HEADER);
    Ok((verified.map_err(|e| from_error(&e, HEADER))?.payload, roots))
}

fn small(medium: &Medium, name: &str) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut input = medium.any(name)?.take(MAX_HEADER_BYTES + 1);
    input.read_to_end(&mut bytes).map_err(|e| Refusal::io(name, &e))?;
    if bytes.len() as u64 > MAX_HEADER_BYTES {
        return Err(Refusal::too_large(format!("it has more than {MAX_HEADER_BYTES} bytes")).at(name));
    }
    Ok(bytes)
}

fn parse(verified: &VerifiedPayload) -> Result<Header, Refusal> {
    let bad = |why: String| Refusal::invalid("bad-header", why).at(HEADER);
    let statement: Statement =
        serde_json::from_slice(&verified.payload).map_err(|e| bad(format!("it is no statement: {e}")))?;
    if verified.payload_type != STATEMENT_PAYLOAD_TYPE || statement.kind != STATEMENT_TYPE {
        return Err(bad("it is no in-toto statement of version 1".to_owned()));
    }
    if statement.predicate_type != PREDICATE_TYPE {
        let newer = statement.predicate_type.starts_with(PREDICATE_FAMILY);
        return Err(if newer { unsupported("format version") } else { bad("it is no transfer".to_owned()) });
    }
    if statement.predicate["formatVersion"] != 1 {
        return Err(unsupported("format version"));
    }
    if ![Suite::Sealed, Suite::Inspectable].iter().any(|s| statement.predicate["suite"] == s.as_str()) {
        return Err(unsupported("suite"));
    }
    let header: Header =
        serde_json::from_value(statement.predicate).map_err(|e| bad(format!("a field is wrong: {e}")))?;
    let again = crate::writer::statement(&header).and_then(|s| s.to_json());
    if again.map_err(|e| from_error(&e, HEADER))? != verified.payload {
        return Err(bad("the signed text is not in its canonical spelling".to_owned()));
    }
    Ok(header)
}

fn unsupported(what: &str) -> Refusal {
    Refusal::invalid("unsupported-version", format!("this program does not know the transfer's {what}"))
        .at(HEADER)
        .hint("update Cofferdam on this site, or ask for a transfer of format 1")
}

/// What the header says must fit itself, the folder's name and the limits.
fn check(header: &Header, folder: &str) -> Result<(), Refusal> {
    let bad = |why: &str| Err(Refusal::invalid("bad-header", why).at(HEADER));
    let large = |why: String| Err(Refusal::too_large(why).at(HEADER));
    let stream = stream_name(&header.source, &header.destinations).map_err(|e| from_error(&e, HEADER))?;
    if header.stream != stream || header.seq == 0 || header.not_after < header.created {
        return bad("its stream, position or dates are not well-formed");
    }
    if header.folder_name() != folder {
        let text = format!("the folder is named {folder}; the header belongs to {}", header.folder_name());
        return Err(Refusal::failed("wrong-folder", text)
            .at(HEADER)
            .hint("give the folder its own name back"));
    }
    let sealed = header.suite == Suite::Sealed;
    let ascending = header.recipients.windows(2).all(|pair| pair[0] < pair[1]);
    let payload = &header.payload;
    if sealed != header.items.is_none() || sealed == header.recipients.is_empty() || !ascending {
        return bad("its recipients or items do not belong to its suite");
    }
    if !sealed && (payload.size > 0 || payload.packs > 0 || header.parity.is_some()) {
        return bad("an inspectable transfer has no payload");
    }
    if !(MIN_VOLUME_BYTES..=MAX_VOLUME_BYTES).contains(&payload.volume_size) {
        return bad("its volumes have an impossible size");
    }
    if payload.packs > MAX_PACKS || header.recipients.len() > MAX_RECIPIENTS {
        return large("it has too many packs or recipients".to_owned());
    }
    if parts(payload.size, payload.volume_size) > MAX_VOLUMES || header.parity_volumes() > MAX_VOLUMES {
        return large(format!("it has more than {MAX_VOLUMES} volumes"));
    }
    check_files(header)
}

/// The list of files is README.txt, roots, the manifest, volumes, checks, parity, in this order.
fn check_files(header: &Header) -> Result<(), Refusal> {
    let bad = |why: &str| Err(Refusal::invalid("bad-header", why).at(HEADER));
    let mut files = header.files.iter().peekable();
    let mut expect = |name: &str, size: Option<u64>| {
        files.next().filter(|f| f.name == name && size.is_none_or(|size| size == f.size)).cloned()
    };
    let wrong =
        "its list of files is not README.txt, root documents, the manifest, volumes, checks and parity";
    let Some(readme) = expect(README, None) else { return bad(wrong) };
    let roots: Vec<u32> = header
        .files
        .iter()
        .filter_map(|f| match Name::parse(&f.name) {
            Some(Name::Root(version)) => Some(version),
            _ => None,
        })
        .collect();
    let ascending = roots.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || roots.len() > MAX_ROOTS || roots.iter().any(|v| expect(&name::root(*v), None).is_none())
    {
        return bad(wrong);
    }
    let Some(manifest) = expect(header.manifest_name(), None) else { return bad(wrong) };
    let payload = &header.payload;
    let mut volumes = |bytes: u64, name: fn(u32) -> String| {
        (1..=parts(bytes, payload.volume_size)).all(|n| {
            let before = u64::from(n - 1) * payload.volume_size;
            expect(&name(n), Some(payload.volume_size.min(bytes - before))).is_some()
        })
    };
    if !volumes(payload.size, name::volume) {
        return bad(wrong);
    }
    if let Some(geometry) = &header.parity {
        let data = manifest.size.saturating_add(payload.size);
        let layout = geometry.check().map_err(|e| from_error(&e, HEADER))?;
        if geometry.data_len != data {
            return bad("its parity is over other bytes");
        }
        let checks = files.next().filter(|f| f.name == name::CHECKS && f.size == layout.checks_len());
        let mut parity = |n: u32| {
            let bytes = layout.parity_len();
            let before = u64::from(n - 1) * payload.volume_size;
            let size = payload.volume_size.min(bytes - before);
            files.next().is_some_and(|f| f.name == name::parity(n) && f.size == size)
        };
        if checks.is_none() || !(1..=header.parity_volumes()).all(&mut parity) {
            return bad(wrong);
        }
    }
    if files.next().is_some() {
        return bad(wrong);
    }
    if readme.size > MAX_README_BYTES || manifest.size > MAX_MANIFEST_BYTES {
        return Err(Refusal::too_large("its README or manifest is too long").at(HEADER));
    }
    if header.manifest.plain_size > MAX_MANIFEST_BYTES {
        return Err(Refusal::too_large("its manifest unpacks to too much").at(HEADER));
    }
    Ok(())
}
