//! The press: packs are compressed and sealed by several threads and come back in their order.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use cofferdam_trust::age::{Entropy, Recipient, Sealer, SystemEntropy};
use cofferdam_types::{Error, Result};

use crate::pack;

/// Threads at most: more would only hold more packs in memory.
const MAX_THREADS: usize = 8;

/// A pack before it is pressed: bytes, and where its blobs end in them.
#[derive(Default)]
pub struct Raw {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

/// A pack as it goes onto the medium.
pub struct Pressed {
    pub raw: u64,
    pub sealed: Vec<u8>,
}

/// Gives each sealed file of a transfer its secrets: the manifest is file 0, packs count from 1.
pub type EntropyByFile = Arc<dyn Fn(u64) -> Box<dyn Entropy> + Send + Sync>;

/// The only source that is fit for use.
pub fn system_entropy() -> EntropyByFile {
    Arc::new(|_| Box::new(SystemEntropy))
}

type Answer = io::Result<Pressed>;
type Job = (u64, Raw, Sender<Answer>);

/// Threads, and the packs that are with them. Dropping it ends the threads.
pub struct Press {
    jobs: Sender<Job>,
    waiting: VecDeque<Receiver<Answer>>,
    next: u32,
    threads: usize,
}

impl Press {
    pub fn start(recipients: &[Recipient], entropy: &EntropyByFile) -> Result<Self> {
        let sealer = Arc::new(Sealer::new(recipients)?);
        let threads = thread::available_parallelism().map_or(2, usize::from).min(MAX_THREADS);
        let (jobs, inbox) = channel::<Job>();
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..threads {
            let (inbox, sealer, entropy) = (Arc::clone(&inbox), Arc::clone(&sealer), Arc::clone(entropy));
            thread::spawn(move || {
                loop {
                    let job = inbox.lock().map(|inbox| inbox.recv());
                    let Ok(Ok((file, raw, answer))) = job else { return };
                    let sealed = pack::seal(&raw.bytes, &raw.ends, &sealer, entropy(file).as_mut());
                    let raw = raw.bytes.len() as u64;
                    // Nobody listens when the writer was dropped.
                    let _ = answer.send(sealed.map(|sealed| Pressed { raw, sealed }));
                }
            });
        }
        Ok(Self { jobs, waiting: VecDeque::new(), next: 0, threads })
    }

    /// The number, from 0, that the next pack gets.
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// Gives a pack in; when enough are with the threads, the oldest comes back.
    pub fn put(&mut self, raw: Raw) -> Result<Option<Pressed>> {
        let (answer, receiver) = channel();
        self.jobs
            .send((u64::from(self.next) + 1, raw, answer))
            .map_err(|e| Error::internal("the threads that seal packs ended", e))?;
        self.next += 1;
        self.waiting.push_back(receiver);
        if self.waiting.len() > self.threads + 1 { self.take() } else { Ok(None) }
    }

    /// The oldest pack that is with the threads; `None` when there is none.
    pub fn take(&mut self) -> Result<Option<Pressed>> {
        let Some(receiver) = self.waiting.pop_front() else { return Ok(None) };
        let pressed = receiver.recv().map_err(|e| Error::internal("a thread that seals packs ended", e))?;
        pressed.map(Some).map_err(|e| Error::internal("sealing a pack", e))
    }
}
