//! What every page has around it.

use crate::assets;

/// A place in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub href: &'static str,
    /// Its name.
    pub label: &'static str,
    /// Whether the page is in it.
    pub here: bool,
}

/// Something that the viewer must be told at the top of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The sentence.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What every page has around it.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The site's name.
    pub site: String,
    /// Whether it may reach the internet.
    pub connected: bool,
    /// Who is looking; `None` when nobody is logged in.
    pub who: Option<String>,
    /// Their roles.
    pub roles: Vec<&'static str>,
    /// Where they may go.
    pub places: Vec<Place>,
    /// Shown at the top.
    pub notice: Option<Notice>,
}

impl Frame {
    /// The word for the site's role.
    #[must_use]
    pub fn role(&self) -> &'static str {
        if self.connected { "connected" } else { "isolated" }
    }

    pub(crate) fn style(&self) -> &'static str {
        &assets::style().name
    }

    pub(crate) fn script(&self) -> &'static str {
        &assets::script().name
    }

    pub(crate) fn icon(&self) -> &'static str {
        &assets::icon().name
    }
}
