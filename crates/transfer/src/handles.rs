//! Many files read or written at any place with few of them open: a transfer may have fifty thousand volumes,
//! and a process may have a thousand open files.
//!
//! It opens what it is asked for and nothing else, and never follows the count of files with its memory.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Files that stay open, at most. Threads that still use one that was dropped from here keep it a moment longer.
const MAX_OPEN: usize = 32;

type Open = Box<dyn Fn(usize) -> io::Result<File> + Send + Sync>;

/// Files by number, opened when they are used; the ones used last stay open.
pub struct Handles {
    open: Open,
    kept: Mutex<VecDeque<(usize, Arc<File>)>>,
}

impl Handles {
    pub fn new(open: impl Fn(usize) -> io::Result<File> + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), kept: Mutex::default() }
    }

    /// The file of that number.
    ///
    /// # Errors
    /// What opening it answers.
    pub fn get(&self, number: usize) -> io::Result<Arc<File>> {
        if let Some(file) = self.known(number) {
            return Ok(file);
        }
        // Not under the lock: a slow disc must not hold up the readers of other files.
        let file = Arc::new((self.open)(number)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(MAX_OPEN - 1);
        kept.push_front((number, Arc::clone(&file)));
        Ok(file)
    }

    fn known(&self, number: usize) -> Option<Arc<File>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(n, _)| *n == number)?;
        let found = kept.remove(at)?;
        let file = Arc::clone(&found.1);
        kept.push_front(found);
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::atomic::AtomicUsize, sync::atomic::Ordering};

    use super::*;

    #[test]
    fn few_stay_open_and_those_are_the_ones_used_last() {
        let home = tempfile::tempdir().unwrap();
        for n in 0..200 {
            std::fs::write(home.path().join(n.to_string()), n.to_string()).unwrap();
        }
        let opened = Arc::new(AtomicUsize::new(0));
        let (folder, count) = (home.path().to_owned(), Arc::clone(&opened));
        let handles = Handles::new(move |n| {
            count.fetch_add(1, Ordering::Relaxed);
            File::open(folder.join(n.to_string()))
        });
        for n in 0..200 {
            let mut text = String::new();
            handles.get(n).unwrap().as_ref().read_to_string(&mut text).unwrap();
            assert_eq!(text, n.to_string());
            handles.get(7.min(n)).unwrap();
        }
        assert_eq!(opened.load(Ordering::Relaxed), 200, "what is used again and again stays open");
        assert_eq!(handles.kept.lock().unwrap().len(), MAX_OPEN);
        assert_eq!(handles.get(200).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
