//! What every handler can reach.

use std::{ops::Deref, sync::Arc};

use cofferdam_access::Access;
use cofferdam_crossing::Crossing;
use cofferdam_forge::Forge;
use cofferdam_registry::Registry;
use cofferdam_trust::VerifyingKey;
use cofferdam_types::{Clock, SiteName};

/// The parts of a running site. Cheap to clone.
#[derive(Clone)]
pub struct Site(Arc<SiteState>);

/// What [`Site`] points to.
pub struct SiteState {
    /// The site's name.
    pub name: SiteName,
    /// Whether it may reach the internet.
    pub connected: bool,
    /// Packages.
    pub registry: Registry,
    /// Recordings and transfers.
    pub crossing: Crossing,
    /// The site's public key.
    pub key: VerifyingKey,
    /// Projects, pipelines, jobs.
    pub forge: Forge,
    /// People and tokens.
    pub access: Access,
    /// Whether packages may be read without a login.
    pub anonymous_read: bool,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Site {
    /// Wraps the parts.
    #[must_use]
    pub fn new(state: SiteState) -> Self {
        Self(Arc::new(state))
    }
}

impl Deref for Site {
    type Target = SiteState;

    fn deref(&self) -> &SiteState {
        &self.0
    }
}
