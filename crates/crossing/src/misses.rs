//! What clients asked for in vain: the site's own want list, without anybody writing it.
//!
//! A build asks for the same missing package many times: it is counted in memory and written when the count
//! reaches a power of two, so that a loop of requests is no load on the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cofferdam_store::NewWant;
use cofferdam_types::Result;

use crate::Crossing;

/// Names counted at once; past it, a new name is not noted: nobody reads so long a list.
const MOST: usize = 10_000;
/// Bytes of a package's name, at most.
const MAX_NAME: usize = 300;

/// Counts since the site started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Misses(Arc<Mutex<HashMap<(String, String), u64>>>);

impl Misses {
    /// How many are to be added to the row now; 0 for none.
    fn count(&self, format: &str, package: &str) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (format.to_owned(), package.to_owned());
        if all.len() >= MOST && !all.contains_key(&key) {
            return 0;
        }
        let count = all.entry(key).or_default();
        *count += 1;
        if !count.is_power_of_two() {
            return 0;
        }
        (*count / 2).max(1)
    }
}

impl Crossing {
    /// A client asked for a package that is not here.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn missed(&self, format: &str, package: &str) -> Result<()> {
        // Before it is counted: the map of counts holds nothing that is no name.
        if package.is_empty() || package.len() > MAX_NAME {
            return Ok(());
        }
        let asked = self.2.count(format, package);
        if asked == 0 {
            return Ok(());
        }
        let now = self.clock().now();
        let site = self.0.site.as_str();
        let want = NewWant { site, format, package, version: "", asked, note: "", actor: "clients" };
        let mut tx = self.db().write().await?;
        tx.carry().want(want, now).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_misses_are_few_writes_and_no_miss_is_lost_by_the_next_write() {
        let misses = Misses::default();
        let added: Vec<u64> = (0..16).map(|_| misses.count("pypi", "oars")).collect();
        assert_eq!(added.iter().filter(|n| **n > 0).count(), 5, "{added:?}");
        assert_eq!(added.iter().sum::<u64>(), 16);
        assert_eq!(misses.count("npm", "oars"), 1);
    }
}
