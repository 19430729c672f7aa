//! Attacks: whatever lies on a medium, whatever was signed, whatever the site remembers, is refused by its own
//! code with exit code 3, and nothing is imported.
//!
//! | I look for | it is in |
//! |---|---|
//! | the table, and both ways to try it | `table` |
//! | whose signatures count: arbitrary software, key compromise, stripped signers, roots | `signatures` |
//! | files: swapped, cut, endless, links, devices, names | `medium` |
//! | what is inside: mixed, extraneous, bombs, traversal | `manifest` |
//! | recipes that do harm | `recipes` |
//! | rollback, freeze, fast-forward, restored backups | `memory` |
//! | what travels back: receipts, wants, repair requests | `back` |
//! | nothing is read before the signatures hold | `trace` |
//! | the hostile sender, the receiving site | `sender`, `site` |

#[path = "../common/mod.rs"]
mod common;

mod back;
mod manifest;
mod medium;
mod memory;
mod recipes;
mod sender;
mod signatures;
mod site;
mod table;
mod trace;
