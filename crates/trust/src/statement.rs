//! in-toto Statement v1 (in-toto/attestation, `spec/v1/statement.md`) inside DSSE.
//!
//! A statement says something (the predicate) about exact bytes (the subjects). This module must
//! never judge a predicate: whoever knows its type does.

use std::collections::BTreeMap;

use cofferdam_types::{Error, Result, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Envelope, KeyId, SigningKey, VerifiedPayload, VerifyingKey, dsse};

/// The media type of a statement in an envelope.
pub const STATEMENT_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The `_type` of version 1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A statement about some subjects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// Always [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about; at least one.
    pub subject: Vec<Subject>,
    /// URI that says how to read the predicate.
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

/// One thing that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its name, for people.
    pub name: String,
    /// Its digests: algorithm to lower-case hexadecimal. `sha256` is the one we use.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// A subject known by SHA-256.
    #[must_use]
    pub fn sha256(name: impl Into<String>, digest: Sha256) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), digest.to_hex())]);
        Self { name: name.into(), digest }
    }

    /// The SHA-256 digest, if it has a well-formed one.
    #[must_use]
    pub fn sha256_digest(&self) -> Option<Sha256> {
        self.digest.get("sha256")?.parse().ok()
    }
}

/// A statement that enough distinct keys signed.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedStatement {
    /// The statement.
    pub statement: Statement,
    /// The exact bytes that were signed.
    pub payload: Vec<u8>,
    /// The distinct known keys that signed, in ascending order.
    pub signers: Vec<KeyId>,
}

impl Statement {
    /// A statement of version 1.
    #[must_use]
    pub fn new(subject: Vec<Subject>, predicate_type: impl Into<String>, predicate: Value) -> Self {
        Self { kind: STATEMENT_TYPE.to_owned(), subject, predicate_type: predicate_type.into(), predicate }
    }

    /// The JSON that is signed: no spaces, fields in the order of the specification.
    ///
    /// # Errors
    /// `Internal` only if the JSON writer fails.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal("writing a statement", e))
    }
}

/// Signs a statement with every key.
///
/// # Errors
/// As [`Statement::to_json`].
pub fn sign_statement(statement: &Statement, keys: &[&SigningKey]) -> Result<Envelope> {
    Ok(dsse::sign(STATEMENT_PAYLOAD_TYPE, &statement.to_json()?, keys))
}

/// Verifies the signatures first and only then reads the statement.
///
/// # Errors
/// As [`crate::verify`]; `Invalid` (`bad-statement`) when the signed payload is no statement of
/// version 1 with the predicate type asked for and at least one subject.
pub fn verify_statement(
    envelope: &Envelope,
    predicate_type: &str,
    keys: &[VerifyingKey],
    threshold: usize,
) -> Result<VerifiedStatement> {
    read_statement(dsse::verify(envelope, keys, threshold)?, predicate_type)
}

/// Reads the statement in a payload that has been verified.
fn read_statement(verified: VerifiedPayload, predicate_type: &str) -> Result<VerifiedStatement> {
    let wrong =
        |why: String| Error::invalid("bad-statement", format!("the signed payload is no statement: {why}"));
    if verified.payload_type != STATEMENT_PAYLOAD_TYPE {
        return Err(wrong("its payload type is another".to_owned()));
    }
    let statement: Statement = serde_json::from_slice(&verified.payload).map_err(|e| wrong(e.to_string()))?;
    if statement.kind != STATEMENT_TYPE {
        return Err(wrong("it is not of version 1".to_owned()));
    }
    if statement.predicate_type != predicate_type {
        return Err(wrong(format!("its predicate type is not {predicate_type}")));
    }
    if statement.subject.is_empty() {
        return Err(wrong("it has no subject".to_owned()));
    }
    Ok(VerifiedStatement { statement, payload: verified.payload, signers: verified.signers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREDICATE: &str = "https://cofferdam.example/test/v1";

    #[test]
    fn a_statement_comes_back_and_only_as_what_it_is() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let trusted = [key.verifying_key()];
        let subject = Subject::sha256("a", Sha256::of(b"a"));
        let statement = Statement::new(vec![subject.clone()], PREDICATE, serde_json::json!({"z": 1, "a": 2}));
        let envelope = sign_statement(&statement, &[&key]).unwrap();
        let verified = verify_statement(&envelope, PREDICATE, &trusted, 1).unwrap();
        assert_eq!(verified.statement, statement);
        assert_eq!(verified.statement.subject[0].sha256_digest(), Some(Sha256::of(b"a")));
        assert!(verify_statement(&envelope, "https://cofferdam.example/other", &trusted, 1).is_err());

        let plain = dsse::sign("text/plain", b"{}", &[&key]);
        assert_eq!(verify_statement(&plain, PREDICATE, &trusted, 1).unwrap_err().code(), "bad-statement");
        let nobody = sign_statement(&Statement::new(vec![], PREDICATE, Value::Null), &[&key]).unwrap();
        assert_eq!(verify_statement(&nobody, PREDICATE, &trusted, 1).unwrap_err().code(), "bad-statement");
    }
}
