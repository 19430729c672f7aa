//! A build that clones by git over HTTP: recorded, rehearsed with the server gone, carried, and cloned inside by
//! the same command.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
};

use cofferdam_testkit::{GitAsked, GitBackend};

use crate::common::{
    Pair,
    tools::{have, have_sandbox},
};

/// The outside world as a proxy sees it: repositories at `http://code.example/`.
struct World {
    address: SocketAddr,
    thread: JoinHandle<usize>,
}

impl World {
    fn new(backend: GitBackend) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let streams = listener.incoming().map(Result::unwrap);
            streams.map_while(|stream| answer(&backend, stream)).count()
        });
        Self { address, thread }
    }

    /// How often it was asked; nothing answers any more.
    fn end(self) -> usize {
        TcpStream::connect(self.address).unwrap().write_all(b"END\r\n\r\n").unwrap();
        self.thread.join().unwrap()
    }
}

/// Answers one request; none at the end.
fn answer(backend: &GitBackend, mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = (&mut reader).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<String> =
        lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let header = |name: &str| headers.iter().find_map(|h| h.strip_prefix(name)).unwrap_or_default().trim();
    let (method, rest) = first.split_once(' ').filter(|(method, _)| *method != "END")?;
    let url = rest.split(' ').next().unwrap().strip_prefix("http://code.example").expect("the one host");
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut body = vec![0; header("content-length:").parse().unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let (status, headers, body) = backend.answer(&GitAsked {
        method,
        path,
        query,
        media_type: header("content-type:"),
        protocol: header("git-protocol:"),
        body: &body,
    });
    let mut head =
        format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&body);
    Some(())
}

#[test]
fn a_clone_and_its_submodule_are_recorded_rehearsed_carried_and_answered_inside() {
    let server = tempfile::tempdir().unwrap();
    let Some(backend) = GitBackend::find(server.path()) else {
        println!("skipped: git: not on this machine");
        return;
    };
    if !have("git") || !have_sandbox() {
        return;
    }
    // Enough branches for a question of more than 1024 bytes, which git compresses.
    backend.script(
        "git init -q work; cd work; for n in $(seq 60); do git checkout -q --orphan b$n; echo $n > a; git add a; \
         git commit -qm $n; done; cd ..; git clone -q --bare work r.git; git init -q outer; cd outer; \
         git -c protocol.file.allow=always submodule --quiet add -b b7 ../r.git inner; \
         git config -f .gitmodules submodule.inner.url ../r.git; git add .gitmodules; git commit -qm outer; \
         cd ..; git clone -q --bare outer outer.git",
    );
    let world = World::new(backend);
    let mut pair = Pair::new("");
    pair.outside.restart_with(&[("HTTP_PROXY", &format!("http://{}", world.address))]);
    let folder = tempfile::tempdir().unwrap();
    let script = "git clone -q --depth 1 -b b9 http://code.example/r.git shallow\n\
        git clone -q --recurse-submodules http://code.example/outer.git src\n\
        cat shallow/a src/inner/a > seen.txt\nrm -rf shallow src\ncat seen.txt\n\
        ! git ls-remote http://code.example/none.git 2> /dev/null\n";
    fs::write(folder.path().join("build.sh"), script).unwrap();
    let command = ["sh", "-e", "build.sh"];
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let record = [&["record", "--name", "clone", "--"][..], &command].concat();
    let recorded = outside.by_in(folder.path(), officer, &record).ok();
    assert_eq!(recorded["exit_code"], 0, "{recorded}");
    let asked = recorded["network"]["addresses"].as_array().unwrap();
    assert!(asked.iter().any(|a| a["url"] == "http://code.example/r.git/git-upload-pack"), "{recorded}");
    assert!(world.end() > 5);

    let rehearsed = outside.by(officer, &["rehearse", "clone"]).ok();
    assert_eq!(rehearsed["complete"], true, "{rehearsed}");
    let packed = pair.pack("clone", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    let inside = [&["inside", "--"][..], &command].concat();
    let built = pair.inside.by_in(folder.path(), &pair.developers.1, &inside);
    assert_eq!(built.code, 0, "{built:#?}");
    let seen = fs::read_to_string(folder.path().join("seen.txt")).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!((lines[0], lines.len()), ("9", 2), "{seen}");
}
