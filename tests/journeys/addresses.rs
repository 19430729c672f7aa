//! What a build fetches beside its package clients: recorded by address, carried over, and answered inside to the
//! same unchanged command.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
};

use serde_json::json;

use crate::common::{
    Pair,
    tools::{have, have_sandbox},
};

const SCRIPT: &str = "echo rigged > rig.txt\n";

/// The outside world as a proxy sees it: `http://tools.example/rig.sh` and a redirect to it; anything else is 404.
struct World {
    address: SocketAddr,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                if first.starts_with("END") {
                    return asked;
                }
                let url = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer = match url.as_str() {
                    "http://tools.example/rig.sh" => {
                        format!(
                            "200 OK\r\ncontent-type: text/x-sh\r\ncontent-length: {}\r\n\r\n{SCRIPT}",
                            SCRIPT.len()
                        )
                    }
                    "http://tools.example/latest" => {
                        "302 Found\r\nlocation: /rig.sh\r\ncontent-length: 0\r\n\r\n".to_owned()
                    }
                    _ => "404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                let _ =
                    write!(stream, "HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1));
                asked.push(format!("{first}\n{}", headers.join("\n")));
            }
            asked
        });
        Self { address, thread: Some(thread) }
    }

    /// Everything that was asked of it; nothing answers any more.
    fn end(mut self) -> Vec<String> {
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.write_all(b"END\r\n\r\n").unwrap();
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn what_a_script_downloads_is_recorded_rehearsed_carried_and_answered_inside() {
    if !have("curl") || !have_sandbox() {
        return;
    }
    let world = World::new();
    let mut pair = Pair::new("");
    pair.outside.restart_with(&[("HTTP_PROXY", &format!("http://{}", world.address))]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("build.sh"), "curl -fsSL -H 'Authorization: Bearer hush' http://tools.example/latest -o rig.sh\n\
        curl -s -o /dev/null -w '%{http_code}' http://tools.example/optional | grep -q 404\nsh -e rig.sh\ntest -s rig.txt\n").unwrap();
    let command = ["sh", "-e", "build.sh"];
    let (outside, officer) = (&pair.outside, &pair.officers.0);

    let record = [&["record", "--name", "rig", "--"][..], &command].concat();
    let recorded = outside.by_in(folder.path(), officer, &record).ok();
    assert_eq!(recorded["exit_code"], 0, "{recorded}");
    let asked = recorded["network"]["addresses"].as_array().unwrap();
    let seen: Vec<_> =
        asked.iter().map(|a| (a["url"].as_str().unwrap(), a["status"].as_u64().unwrap())).collect();
    let base = "http://tools.example";
    assert_eq!(
        seen,
        [
            (&*format!("{base}/latest"), 302),
            (&*format!("{base}/rig.sh"), 200),
            (&*format!("{base}/optional"), 404)
        ]
    );
    assert!(!recorded.to_string().contains("hush"), "{recorded}");
    let connections = recorded["network"]["connections"]["lines"].to_string();
    assert!(connections.contains("tools.example") && connections.contains("curl"), "{connections}");
    let asked = world.end();
    assert!(asked.len() == 3 && !asked.concat().contains("hush"), "{asked:?}");

    // The world is gone now, and the rehearsal does not miss it.
    let rehearsed = outside.by(officer, &["rehearse", "rig"]).ok();
    assert_eq!(rehearsed["complete"], true, "{rehearsed}");
    let packed = pair.pack("rig", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    let developer = &pair.developers.1;
    let build = || pair.inside.by_in(folder.path(), developer, &[&["inside", "--"][..], &command].concat());
    assert_ne!(build().code, 0, "nothing is answered before it is published");
    pair.approve_and_publish(&id);
    let built = build();
    assert_eq!(built.code, 0, "{built:#?}");
    assert_eq!(fs::read_to_string(folder.path().join("rig.txt")).unwrap(), "rigged\n");
}

#[test]
fn what_nobody_recorded_is_refused_at_once_and_told() {
    if !have("curl") || !have_sandbox() {
        return;
    }
    let pair = Pair::new("");
    let folder = tempfile::tempdir().unwrap();
    let script =
        "curl -s https://nowhere.example/tool -o answer.txt; grep -q 'nowhere.example/tool' answer.txt";
    let developer = &pair.developers.1;
    let done = pair.inside.by_in(folder.path(), developer, &["inside", "--", "sh", "-c", script]);
    assert_eq!(done.code, 0, "the answer says what is not here: {done:#?}");
    assert!(done.stderr.contains("refused: GET https://nowhere.example/tool"), "{done:#?}");
    let wants = pair.inside.by(developer, &["want", "list"]).ok();
    let asked = wants["wants"].as_array().unwrap().iter().any(|w| w["format"] == json!("web"));
    assert!(asked, "what was not here is wanted: {wants}");
}
