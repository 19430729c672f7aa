//! The closure proof: signed statements that say what a build used, that it ran from nothing else, and what came out;
//! and the receiver's comparison of them with what the medium brought.
//!
//! Everything that is told here was signed and compared. What a statement merely claims is never called proved.

use std::collections::{BTreeMap, HashMap, HashSet};

use cofferdam_store::{RecordingRow, TransferItemRow, TransferRow};
use cofferdam_transfer::Authority;
use cofferdam_trust::{
    Envelope, STATEMENT_PAYLOAD_TYPE, Statement, Subject, VerifyingKey, root::Role, sign_statement,
};
use cofferdam_types::{Error, Result, Sha256, SiteName};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Collection, CollectionItem, Observed, REHEARSED, Tree};
use crate::{Crossing, RECORDING_PREDICATE, publish::Claim};

/// The predicate of a collection's statement: its items, in parts.
pub const COLLECTION_PREDICATE: &str = "https://cofferdam.dev/collection/v1";
/// The predicate of a network log's statement.
pub const NETWORK_PREDICATE: &str = "https://cofferdam.dev/network-log/v1";

/// Bytes of items in one statement of a collection: a line of a manifest holds at most 16 MiB, in base64.
const PART: usize = 4 << 20;
/// Files that the database is asked for together.
const TOGETHER: usize = 1024;
/// Files that are named as lacking, at most.
const MOST_NAMED: usize = 20;

/// What a rehearsal's statements prove of what the medium brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Whether all of it holds: signature, collection, its files, and no connection to the outside.
    pub holds: bool,
    /// Why it does not, or what could not be compared.
    pub troubles: Vec<String>,
    /// Files of the collection.
    pub files: u64,
    /// How many of them this transfer carries or names; the others are here already.
    pub carried: u64,
    /// The folder that was built, before the command.
    pub inputs: Option<Tree>,
    /// What the command made.
    pub result: Option<Tree>,
    /// The network log's digest, when one was kept.
    pub network: Option<Sha256>,
    /// Connections and requests that were refused during the rehearsal.
    pub refused: u64,
}

/// A network log in numbers.
pub(crate) struct Connections {
    pub(crate) sha256: Sha256,
    /// Connections whose bytes were let out: to anything but the site.
    pub(crate) outside: u64,
    pub(crate) refused: u64,
}

impl Connections {
    /// Counts a log as the sandbox writes it.
    pub(crate) fn of(log: &Value) -> Result<Self> {
        let lines = log["connections"]["lines"].as_array().map_or(&[][..], Vec::as_slice);
        let count = |decisions: &[&str]| -> u64 {
            let these = lines.iter().filter(|line| decisions.iter().any(|d| line["decision"] == *d));
            these.map(|line| line["count"].as_u64().unwrap_or(1)).sum()
        };
        let requests = log["addresses"].as_array().map_or(&[][..], Vec::as_slice);
        let in_vain = requests.iter().filter(|request| !request["refused"].is_null()).count() as u64;
        Ok(Self {
            sha256: digest_of(log)?,
            outside: count(&["relayed"]),
            refused: count(&["refused", "unreachable", "overload"]) + in_vain,
        })
    }
}

fn digest_of(value: &Value) -> Result<Sha256> {
    let text = serde_json::to_vec(&sorted(value)).map_err(|e| Error::internal("a network log's text", e))?;
    Ok(Sha256::of(&text))
}

/// The same with sorted keys, whatever order it was written in: its digest is taken on both sides.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<&String, Value> = members.iter().map(|(k, v)| (k, sorted(v))).collect();
            members.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Value::Array(all) => all.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// The statements that travel with a rehearsed recording: the rehearsal's, its collection's in parts, its network log's.
pub(crate) async fn statements_of(crossing: &Crossing, row: &RecordingRow) -> Result<Vec<String>> {
    let Some(rehearsal) = row.statement.clone() else { return Ok(Vec::new()) };
    let collection = crossing.collection(row.id).await?;
    let digest = collection.digest()?;
    if !rehearsal_is_of(&rehearsal, &digest)? {
        let text = format!("the collection of `{}` has changed since it was rehearsed", row.name);
        return Err(Error::conflict("changed-since-rehearsal", text)
            .hint(format!("run `cofferdam rehearse {}` again", row.name)));
    }
    let parts = in_parts(&collection)?;
    let (mut all, count) = (vec![rehearsal], parts.len());
    for (part, items) in parts.into_iter().enumerate() {
        let predicate = json!({ "part": part, "parts": count, "items": items });
        let subject = Subject::sha256(format!("collection:{}", row.name), digest);
        all.push(crossing.signed(&Statement::new(vec![subject], COLLECTION_PREDICATE, predicate))?);
    }
    let observed: Observed = crossing.paper(row.id, REHEARSED).await?.unwrap_or_default();
    if let Some(log) = observed.network {
        let subject = Subject::sha256(format!("network-log:{}", row.name), digest_of(&log)?);
        let statement = Statement::new(vec![subject], NETWORK_PREDICATE, json!({ "log": log }));
        all.push(crossing.signed(&statement)?);
    }
    Ok(all)
}

fn rehearsal_is_of(envelope: &str, digest: &Sha256) -> Result<bool> {
    let payload = Envelope::from_json(envelope.as_bytes())?.unverified_payload()?;
    let statement: Value =
        serde_json::from_slice(&payload).map_err(|e| Error::internal("our own statement", e))?;
    Ok(statement["subject"][0]["digest"]["sha256"] == digest.to_hex())
}

/// The items as JSON, cut so that each part fits into a line of a manifest.
fn in_parts(collection: &Collection) -> Result<Vec<Vec<Value>>> {
    let (mut parts, mut bytes) = (Vec::new(), PART);
    for item in &collection.items {
        let value = serde_json::to_value(item.identity()).map_err(|e| Error::internal("a collection", e))?;
        let size = value.to_string().len();
        if bytes + size > PART {
            (bytes, _) = (0, parts.push(Vec::new()));
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(value);
        }
    }
    Ok(parts)
}

impl Crossing {
    /// A statement in this site's name, as DSSE JSON.
    pub(crate) fn signed(&self, statement: &Statement) -> Result<String> {
        let envelope = sign_statement(statement, &[&self.0.key])?;
        String::from_utf8(envelope.to_json()?).map_err(|e| Error::internal("a statement", e))
    }
}

/// The statements of one transfer, whose signatures hold.
pub(crate) struct Proofs {
    rehearsals: Vec<(Value, bool)>,
    /// By collection digest: the parts.
    collections: HashMap<String, BTreeMap<u64, Vec<CollectionItem>>>,
    /// Logs by digest.
    logs: HashMap<String, Value>,
    /// What the transfer carries or names: repository and path to digest, of releases that inspection let pass.
    files: HashMap<(String, String), Sha256>,
}

impl Proofs {
    /// Reads the statements of a transfer's items, believing whom this site believes about its source.
    pub(crate) async fn read(
        crossing: &Crossing,
        transfer: &TransferRow,
        items: &[TransferItemRow],
    ) -> Result<Self> {
        let believed = Believed::about(crossing, transfer).await?;
        let mut out = Self {
            rehearsals: Vec::new(),
            collections: HashMap::new(),
            logs: HashMap::new(),
            files: HashMap::new(),
        };
        for item in items {
            match item.kind.as_str() {
                "statement" => out.add(&believed, item.value.read()?),
                "release" if item.verdict == "ok" => {
                    let Ok(Claim { draft, .. }) = item.value.read() else { continue };
                    for file in draft.files {
                        out.files.insert((item.repository.clone(), file.path), file.digests.sha256);
                    }
                }
                _ => {}
            }
        }
        Ok(out)
    }

    fn add(&mut self, believed: &Believed, envelope: Envelope) {
        let signed = believed.signed(&envelope);
        let Ok(payload) = envelope.unverified_payload() else { return };
        let Ok(mut statement) = serde_json::from_slice::<Value>(&payload) else { return };
        let subject = statement["subject"][0]["digest"]["sha256"].as_str().unwrap_or_default().to_owned();
        match statement["predicateType"].as_str() {
            Some(RECORDING_PREDICATE) => self.rehearsals.push((statement, signed)),
            // An unsigned one proves nothing, and may not stand in the way of a signed one.
            _ if !signed => {}
            Some(COLLECTION_PREDICATE) => {
                let part = statement["predicate"]["part"].as_u64().unwrap_or(0);
                if let Ok(items) = serde_json::from_value(statement["predicate"]["items"].take()) {
                    self.collections.entry(subject).or_default().insert(part, items);
                }
            }
            Some(NETWORK_PREDICATE) => drop(self.logs.insert(subject, statement["predicate"]["log"].take())),
            _ => {}
        }
    }

    /// Each rehearsal's statement, with what is proved of it.
    pub(crate) async fn all(&self, crossing: &Crossing) -> Result<Vec<(&Value, Proof)>> {
        let mut out = Vec::new();
        for (statement, signed) in &self.rehearsals {
            out.push((statement, self.prove(crossing, statement, *signed).await?));
        }
        Ok(out)
    }

    async fn prove(&self, crossing: &Crossing, statement: &Value, signed: bool) -> Result<Proof> {
        let says = &statement["predicate"];
        let tree = |name: &str| serde_json::from_value(says[name].clone()).ok();
        let mut proof = Proof { inputs: tree("inputs"), result: tree("result"), ..Proof::default() };
        if !signed {
            proof.troubles.push("nobody whom this site believes about the sender has signed it".into());
        }
        if says["exitCode"] != 0 {
            proof.troubles.push(format!("the command ended with {}", says["exitCode"]));
        }
        self.compare_collection(crossing, statement, &mut proof).await?;
        self.compare_network(says, &mut proof)?;
        proof.holds = proof.troubles.is_empty();
        Ok(proof)
    }

    async fn compare_collection(
        &self,
        crossing: &Crossing,
        statement: &Value,
        proof: &mut Proof,
    ) -> Result<()> {
        let digest = statement["subject"][0]["digest"]["sha256"].as_str().unwrap_or_default();
        let items: Vec<CollectionItem> = self
            .collections
            .get(digest)
            .into_iter()
            .flat_map(|parts| parts.values())
            .flatten()
            .cloned()
            .collect();
        let collection = Collection { items, ..Collection::default() };
        if collection.digest()?.to_hex() != digest {
            let text = "the list of what was collected did not travel with it, or is another";
            proof.troubles.push(text.into());
            return Ok(());
        }
        let mut elsewhere: BTreeMap<&str, Vec<(&str, Sha256)>> = BTreeMap::new();
        for (repository, path, sha256) in collection.files() {
            proof.files += 1;
            let carried = self.files.get(&(repository.to_owned(), path.to_owned()));
            if carried == Some(&sha256) {
                proof.carried += 1;
            } else {
                elsewhere.entry(repository).or_default().push((path, sha256));
            }
        }
        let lacking = crossing.not_here(&elsewhere).await?;
        if !lacking.is_empty() {
            let (many, some) = (lacking.len(), lacking.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>());
            proof.troubles.push(format!(
                "{many} files that it needs are neither in this transfer nor here: {}",
                some.join(", ")
            ));
        }
        Ok(())
    }

    fn compare_network(&self, says: &Value, proof: &mut Proof) -> Result<()> {
        let Some(digest) = says["network"]["log"].as_str() else {
            // The machine could not watch: there was no way out, but also no list.
            return Ok(());
        };
        let Some(log) = self.logs.get(digest) else {
            proof.troubles.push("its network log did not travel with it".into());
            return Ok(());
        };
        let seen = Connections::of(log)?;
        if seen.sha256.to_hex() != digest {
            proof.troubles.push("the network log is another than the one that was signed".into());
        }
        if seen.outside > 0 {
            proof.troubles.push(format!("{} connections went to the outside", seen.outside));
        }
        (proof.network, proof.refused) = (Some(seen.sha256), seen.refused);
        Ok(())
    }
}

/// Whose statements are believed.
pub(crate) enum Believed {
    Nobody,
    Keys(Vec<VerifyingKey>),
    Root(Box<cofferdam_trust::root::Root>),
}

impl Believed {
    async fn about(crossing: &Crossing, transfer: &TransferRow) -> Result<Self> {
        if transfer.direction == "sent" {
            return Ok(Self::Keys(vec![crossing.0.key.verifying_key()]));
        }
        let Ok(source) = transfer.source.parse::<SiteName>() else { return Ok(Self::Nobody) };
        Self::about_site(crossing, &source).await
    }

    /// Who speaks for a site.
    pub(crate) async fn about_site(crossing: &Crossing, source: &SiteName) -> Result<Self> {
        Ok(match crossing.trust_in(source).await {
            Ok(trust) => match trust.authority {
                Authority::Keys { keys, .. } => Self::Keys(keys),
                Authority::Root(root) => Self::Root(root),
            },
            Err(_) => Self::Nobody,
        })
    }

    pub(crate) fn signed(&self, envelope: &Envelope) -> bool {
        match self {
            Self::Nobody => false,
            Self::Keys(keys) => cofferdam_trust::verify(envelope, keys, 1).is_ok(),
            Self::Root(root) => {
                root.verify_roles(envelope, STATEMENT_PAYLOAD_TYPE, &[Role::Collector]).is_ok()
            }
        }
    }
}

impl Crossing {
    /// Those of these files that no repository of the name shows with these bytes, as `repository: path`.
    async fn not_here(&self, files: &BTreeMap<&str, Vec<(&str, Sha256)>>) -> Result<Vec<String>> {
        let mut tx = self.db().read().await?;
        let mut lacking = Vec::new();
        for (repository, files) in files {
            let id = tx.registry().repository(repository).await?.map(|row| row.id);
            for files in files.chunks(TOGETHER) {
                let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
                let taken = match id {
                    Some(id) => tx.registry().files_at(id, &paths).await?,
                    None => Vec::new(),
                };
                let here: HashSet<(&str, Sha256)> =
                    taken.iter().map(|at| (at.path.as_str(), at.sha256)).collect();
                let lacks = files.iter().filter(|file| !here.contains(*file));
                lacking.extend(lacks.map(|(path, _)| format!("{repository}: {path}")));
            }
        }
        Ok(lacking)
    }
}
