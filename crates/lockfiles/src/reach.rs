//! Who requires what in one file, and what is needed only for developing or only as an extra.
//!
//! Bounded: no list here is longer than the file, and of the askers of one entry only some are kept.

use std::{cell::Cell, collections::HashMap};

/// Askers of one entry that are kept.
const ASKERS: usize = 32;
/// Bytes of a name that is handed out, and of all of them: a long name may ask for everything.
const MAX_NAME: usize = 512;
const MAX_HANDED: usize = 64 << 20;

/// Names as texts of their own, while there is room.
fn handed<'a>(room: &Cell<usize>, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let fits = |name: &&str| {
        let used = room.get() + name.len() + size_of::<String>();
        let fits = name.len() <= MAX_NAME && used <= MAX_HANDED;
        room.set(if fits { used } else { room.get() });
        fits
    };
    names.filter(fits).map(str::to_owned).collect()
}

/// Askers by the name that they ask for: for files in which names are enough.
#[derive(Default)]
pub(crate) struct Askers<'a> {
    names: HashMap<String, Vec<&'a str>>,
    handed: Cell<usize>,
}

impl<'a> Askers<'a> {
    pub fn add(&mut self, name: String, asker: &'a str) {
        let askers = self.names.entry(name).or_default();
        if askers.len() < ASKERS && askers.last() != Some(&asker) {
            askers.push(asker);
        }
    }

    pub fn of(&self, name: &str) -> Vec<String> {
        handed(&self.handed, self.names.get(name).into_iter().flatten().copied())
    }
}

/// How one entry requires another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Always,
    /// With an extra, or where nothing fails without it.
    Optional,
    /// For developing.
    Dev,
}

/// The graph of a file whose entries have numbers.
pub(crate) struct Graph {
    edges: Vec<Vec<(usize, Way)>>,
    askers: Vec<Vec<usize>>,
    starts: Vec<usize>,
    always: Vec<bool>,
    optional: Vec<bool>,
    dev: Vec<bool>,
    handed: Cell<usize>,
}

impl Graph {
    pub fn new(entries: usize) -> Self {
        let none = || vec![false; entries];
        Self {
            edges: vec![Vec::new(); entries],
            askers: vec![Vec::new(); entries],
            starts: Vec::new(),
            always: none(),
            optional: none(),
            dev: none(),
            handed: Cell::new(0),
        }
    }

    /// An entry that is the project itself.
    pub fn start(&mut self, entry: usize) {
        self.starts.push(entry);
    }

    pub fn edge(&mut self, from: usize, to: usize, way: Way) {
        let (Some(edges), Some(askers)) = (self.edges.get_mut(from), self.askers.get_mut(to)) else { return };
        edges.push((to, way));
        if from != to && askers.len() < ASKERS && askers.last() != Some(&from) {
            askers.push(from);
        }
    }

    /// Walks the graph; call once, after the last edge.
    pub fn settle(&mut self) {
        let starts = self.starts.clone();
        self.always = self.walk(&starts, |way| way == Way::Always);
        let from_always: Vec<usize> =
            (0..self.edges.len()).filter(|n| self.always.get(*n) == Some(&true)).collect();
        self.optional = self.walk(&from_always, |way| way != Way::Dev);
        let for_dev: Vec<usize> = starts
            .iter()
            .filter_map(|start| self.edges.get(*start))
            .flatten()
            .filter(|(_, way)| *way == Way::Dev)
            .map(|(to, _)| *to)
            .collect();
        self.dev = self.walk(&for_dev, |way| way != Way::Dev);
    }

    fn walk(&self, from: &[usize], follow: impl Fn(Way) -> bool) -> Vec<bool> {
        let mut seen = vec![false; self.edges.len()];
        let mut open = from.to_vec();
        while let Some(entry) = open.pop() {
            match seen.get_mut(entry) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            let edges = self.edges.get(entry).into_iter().flatten();
            open.extend(edges.filter(|(_, way)| follow(*way)).map(|(to, _)| *to));
        }
        seen
    }

    /// Whether an entry is only for developing, and whether it is optional. What nothing reaches is neither.
    pub fn flags(&self, entry: usize) -> (bool, bool) {
        let is = |set: &[bool]| set.get(entry) == Some(&true);
        if is(&self.always) {
            return (false, false);
        }
        let optional = is(&self.optional);
        (is(&self.dev) && !optional, optional)
    }

    /// The names of those who require an entry.
    pub fn asked_by<'a>(&self, entry: usize, name: impl Fn(usize) -> Option<&'a str>) -> Vec<String> {
        handed(&self.handed, self.askers.get(entry).into_iter().flatten().filter_map(|n| name(*n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shipped_package_needs_is_neither_dev_nor_optional() {
        // 0 is the project: it needs 1, has an extra 2 and a tool 3; all of them need 4; 2 and 3 need 5; 3 needs 6.
        let mut graph = Graph::new(8);
        graph.start(0);
        for (from, to, way) in [
            (0, 1, Way::Always),
            (0, 2, Way::Optional),
            (0, 3, Way::Dev),
            (1, 4, Way::Always),
            (2, 4, Way::Always),
            (3, 4, Way::Always),
            (2, 5, Way::Always),
            (3, 5, Way::Always),
            (3, 6, Way::Always),
            (6, 3, Way::Always),
            (9, 1, Way::Always),
        ] {
            graph.edge(from, to, way);
        }
        graph.settle();
        let flags: Vec<_> = (1..8).map(|n| graph.flags(n)).collect();
        let (needed, optional, dev) = ((false, false), (false, true), (true, false));
        assert_eq!(flags, [needed, optional, dev, needed, optional, dev, needed]);
        assert_eq!(graph.asked_by(4, |n| ["p", "a", "b", "c"].get(n).copied()), ["a", "b", "c"]);
    }
}
