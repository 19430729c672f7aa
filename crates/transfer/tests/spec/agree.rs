//! Two verifiers that were written apart say the same of every vector, and of vectors changed on purpose.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    mutants,
    tools::{self, Dice},
    vectors::{Vector, list},
};

const PROGRAMS: &[&str] = &["python3", "openssl", "age", "zstd"];

/// `verify.py --batch` with the keys of one vector.
struct Second {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Second {
    fn start(vector: &Vector, home: &Path) -> Self {
        let mut command = Command::new("python3");
        command.arg("-B").arg(tools::spec().join("verify.py")).arg("--batch");
        command.args(vector.keys.iter().flat_map(|key| ["--key", key]));
        command.args(["--threshold", &vector.threshold.to_string(), "--site", &vector.site]);
        if let Some(text) = &vector.identity {
            let file = home.join(format!("{}.age-key", vector.name));
            fs::write(&file, text).unwrap();
            command.arg("--identity").arg(file);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn ask(&mut self, folder: &Path) {
        writeln!(self.input, "{}", folder.display()).unwrap();
        self.input.flush().unwrap();
    }

    /// `verified …` or `refused: …`.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().code().is_some_and(|code| code == 0 || code == 3));
    }
}

/// What the first verifier says, in the words of the second one; of a refusal only that it is one.
fn first(vector: &Vector, folder: &Path) -> (String, &'static str) {
    match vector.read(folder) {
        Ok((identity, door)) if door.is_empty() => (format!("verified {identity}"), ""),
        Ok((identity, door)) => (format!("verified {identity}; at the door: {}", door.join(", ")), ""),
        Err(refusal) => ("refused".to_owned(), refusal.code),
    }
}

fn second(said: &str) -> String {
    if said.starts_with("refused: ") {
        return "refused".to_owned();
    }
    // The order of what a station did is the manifest's there, and ours is sorted.
    match said.split_once("; at the door: ") {
        Some((identity, door)) => {
            let mut door: Vec<&str> = door.split(", ").collect();
            door.sort_unstable();
            format!("{identity}; at the door: {}", door.join(", "))
        }
        None => said.to_owned(),
    }
}

#[test]
fn both_verifiers_agree_on_every_vector() {
    if !tools::have("the second verifier", PROGRAMS) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for vector in list() {
        let folder = tools::spec().join("vectors").join(&vector.folder);
        let mut other = Second::start(&vector, home.path());
        other.ask(&folder);
        let said = other.answer();
        assert_eq!(second(&said), first(&vector, &folder).0, "{}: {said}", vector.name);
        assert_eq!(said.starts_with("verified"), vector.verdict == "verified", "{}: {said}", vector.name);
        other.end();
    }
}

/// What came of some mutants.
#[derive(Default)]
struct Tally {
    codes: BTreeMap<&'static str, u64>,
    apart: Vec<String>,
}

/// Makes the mutants of these numbers and asks both verifiers about it.
fn compare(numbers: impl Iterator<Item = u64>) -> Tally {
    let home = tempfile::tempdir().unwrap();
    let mut vectors = Vec::new();
    let weights =
        [("sealed", 4), ("requires", 5), ("rotated", 3), ("nothing", 2), ("inspectable", 7), ("chain", 1)];
    for (name, weight) in weights {
        let vector = list().into_iter().find(|v| v.name == name).unwrap();
        let second = Second::start(&vector, home.path());
        vectors.push((vector, second, weight));
    }
    let turns: Vec<usize> = (0..vectors.len()).flat_map(|n| std::iter::repeat_n(n, vectors[n].2)).collect();
    let mut tally = Tally::default();
    for n in numbers {
        let mut dice = Dice((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            dice.next();
        }
        let (vector, other, _) = &mut vectors[*dice.pick(&turns)];
        let original = tools::spec().join("vectors").join(&vector.folder);
        let folder = home.path().join(n.to_string()).join(original.file_name().unwrap());
        tools::copy(&original, &folder);
        let what = mutants::random(&folder, &mut dice);
        other.ask(&folder);
        let (ours, code) = first(vector, &folder);
        let theirs = other.answer();
        if second(&theirs) != ours {
            let name = &vector.name;
            tally.apart.push(format!("{n}: {name}: {what}\n    first: {ours} {code}\n    second: {theirs}"));
        }
        *tally.codes.entry(code).or_default() += 1;
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
    vectors.into_iter().for_each(|(_, second, _)| second.end());
    tally
}

/// `COFFERDAM_TEST_MUTANTS` says how many; each has a number that makes it again, `COFFERDAM_TEST_MUTANT` the
/// first of them.
#[test]
fn both_verifiers_agree_on_transfers_changed_on_purpose() {
    if !tools::have("the second verifier", PROGRAMS) {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let from = number("COFFERDAM_TEST_MUTANT").unwrap_or(0);
    let count = number("COFFERDAM_TEST_MUTANTS").unwrap_or(300);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let run = |n: usize| scope.spawn(move || compare((from..from + count).skip(n).step_by(threads)));
        for tally in (0..threads).map(run).collect::<Vec<_>>() {
            let Tally { codes, apart } = tally.join().unwrap();
            codes.into_iter().for_each(|(code, n)| *all.codes.entry(code).or_default() += n);
            all.apart.extend(apart);
        }
    });
    let taken = all.codes.remove("").unwrap_or(0);
    println!("{count} changed transfers, {taken} of them still good; refusals: {:?}", all.codes);
    assert!(
        all.apart.is_empty(),
        "{} of {count} are judged otherwise:\n{}",
        all.apart.len(),
        all.apart.join("\n")
    );
    assert!(count < 300 || (taken > 10 && all.codes.len() > 10), "the changes are too uniform");
}
