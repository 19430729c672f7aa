//! Keys, DSSE envelopes, in-toto statements, signed notes, sealed files and the trust root.
//!
//! Start at [`SigningKey`] and [`VerifyingKey`]; [`sign_statement`] and [`verify_statement`] are what
//! transfers, approvals and provenance use; [`note`] is for checkpoints of the audit log; [`token`] makes
//! bearer tokens. [`age::Sealer`] and [`age::open`] seal what travels to its receiver;
//! [`root::Root`] says whose signatures count. [`words`] and [`qr`] carry a few bytes past the air gap
//! by voice and by camera.
//! This crate must never open a socket or a database, never read the clock, and touch no file except
//! the key files it is asked to read or write. It decides whether a signature holds, never whose
//! signature is needed: the caller passes keys and threshold, or a root that a person has believed.

pub mod age;
mod dsse;
mod key;
mod keyfile;
pub mod note;
pub mod qr;
pub mod root;
mod statement;
mod text;
pub mod token;
pub mod words;

pub use dsse::{Envelope, MAX_ENVELOPE_BYTES, MAX_SIGNATURES, Signature, VerifiedPayload, pae, sign, verify};
pub use key::{KeyId, SigningKey, VerifyingKey};
pub use statement::{
    STATEMENT_PAYLOAD_TYPE, STATEMENT_TYPE, Statement, Subject, VerifiedStatement, sign_statement,
    verify_statement,
};
