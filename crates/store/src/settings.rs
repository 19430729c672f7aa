//! Facts of the site itself, by name.

use cofferdam_types::Result;

use crate::{
    Tx,
    sql::{args, statements},
};

statements! {
    GET = "SELECT value FROM setting WHERE name = $1";
    PUT = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
}

/// Small facts: the site's name, the address in its documents, the streams it has seen.
pub struct Settings<'t>(pub(crate) &'t mut Tx);

impl Settings<'_> {
    /// The value of a setting.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method of these repositories.
    pub async fn get(&mut self, name: &str) -> Result<Option<String>> {
        self.0.optional(GET, args![name]).await?.map(|row| row.text("value")).transpose()
    }

    /// Sets a setting.
    pub async fn put(&mut self, name: &str, value: &str) -> Result<()> {
        self.0.execute(PUT, args![name, value]).await.map(drop)
    }
}
