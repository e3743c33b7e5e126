//! What happens to a mount while an engine writes to it: it fills up, freezes, turns read-only, is
//! shut down.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::{EXT4, MIB, Mount, XFS};
use crate::host::{Answer, Host};
use crate::program::{Place, Program, Until};
use crate::{c, eventually, host, skip, text, tool};

/// Small enough that segments roll, and a small disk is full soon.
const SMALL: &str = "segment=2097152,payload=262144,ring=1048576,group=65536,close=2000";

type Start = fn(&Path, &str) -> Result<Host, String>;

fn in_rust(data: &Path, options: &str) -> Result<Host, String> {
    Host::start(host::command(data, options, &[]))
}

const HOSTS: [(&str, Start); 2] = [("Rust", in_rust), ("C", c::start)];

fn acknowledged(answer: &Answer) -> bool {
    matches!(answer, Answer::Acknowledged(_))
}

/// Takes what space there is.
fn fill(dir: &Path) {
    let mut file = File::create(dir.join("filler")).unwrap();
    for len in [MIB as usize, 4096] {
        while file.write_all(&vec![1; len]).is_ok() {}
    }
    // Blocks that are promised and not given yet are not full.
    let _ = file.sync_all();
    while file.write_all(&[1; 4096]).and_then(|()| file.sync_all()).is_ok() {}
}

#[test]
fn a_liar_on_a_full_disk_is_caught() {
    let mount = match Mount::plain(EXT4) {
        Ok(mount) => mount,
        Err(reason) => return skip("mounts::states::a_liar_on_a_full_disk_is_caught", &reason),
    };
    let mut place = Place::new(Program::Liar, &mount.dir, &[]);
    fill(&mount.dir);
    place.append(200, &[], Until::ItsEnd);
    let lie = place.check(true).unwrap_err();
    assert!(lie.contains("and is gone"), "{lie}");
}

#[test]
fn a_full_disk_is_back_pressure_and_appends_go_on_when_there_is_space() {
    let name = "mounts::states::a_full_disk_is_back_pressure_and_appends_go_on_when_there_is_space";
    for (language, start) in HOSTS {
        let mount = match Mount::plain(EXT4) {
            Ok(mount) => mount,
            Err(reason) => return skip(name, &reason),
        };
        let mut place = Place::new(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
        let mut host = start(&place.data, &format!("{SMALL},timeout=500")).unwrap();
        assert!(host.append(&mut place.promises, 20).iter().all(acknowledged));
        fill(&mount.dir);
        let mut refused = None;
        for _ in 0..8000 {
            let answers = host.append(&mut place.promises, 20);
            refused = answers.into_iter().find(|answer| !acknowledged(answer));
            if refused.is_some() {
                break;
            }
        }
        let refused = refused.expect("the disk is full");
        let Answer::Failed { outcome_unknown: false, message } = refused else {
            panic!("{language}: {refused:?}");
        };
        assert!(message.contains("no space to allocate a segment"), "{language}: {message}");
        let (count, error) = host.read();
        assert!(count >= 20 && error.is_none(), "{language}: reads go on: {count} {error:?}");
        fs::remove_file(mount.dir.join("filler")).unwrap();
        // The next segment is tried for again by whom it is missing to.
        eventually("space", || host.append(&mut place.promises, 100).iter().all(acknowledged));
        assert_eq!(host.close().0, "CLOSED");
        place.check(true).unwrap();
        mount.again().unwrap();
        place.check(false).unwrap();
    }
}

#[test]
fn a_trim_leads_out_of_a_full_disk() {
    for recipe in [EXT4, XFS] {
        let mount = match Mount::plain(recipe) {
            Ok(mount) => mount,
            Err(reason) => return skip("mounts::states::a_trim_leads_out_of_a_full_disk", &reason),
        };
        let name = recipe.name;
        let mut place = Place::new(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
        let mut host = in_rust(&place.data, &format!("{SMALL},timeout=30000")).unwrap();
        let mut end = 0;
        let mut fill_up = |host: &mut Host, place: &mut Place| {
            loop {
                let answers = host.append(&mut place.promises, 100);
                end += answers.iter().filter(|answer| acknowledged(answer)).count() as u64;
                if let Some(refused) = answers.iter().find(|answer| !acknowledged(answer)) {
                    let said = refused.message();
                    assert!(said.contains("no space"), "{name}: {said}");
                    return end;
                }
                // Segments enough to give some up, then no space for another.
                if end > 8_000 {
                    fill(&mount.dir);
                }
            }
        };
        fill_up(&mut host, &mut place);
        // What upkeep has freed meanwhile is taken, too.
        fill(&mount.dir);
        let end = fill_up(&mut host, &mut place);
        let half = end / 2;
        assert_eq!(host.trim(half), None, "{name}: a trim finds room");
        eventually("space", || host.append(&mut place.promises, 100).iter().all(acknowledged));
        assert_eq!(host.close().0, "CLOSED");
        let found = place.read().unwrap();
        place.promises.check_from(half as usize, &found).unwrap();
        place.run(&["verify"]).unwrap();
        mount.again().unwrap();
        assert_eq!(place.read().unwrap(), found, "{name}");
    }
}

/// The mount is turned by `turn`; the host hears so, and reads on; mounted again, all is there.
fn turned(start: Start, mount: &Mount, turn: &dyn Fn(), says: &[&str]) {
    let mut place = Place::new(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
    // What is in the page cache of such a mount need not come back.
    place.has_rings = false;
    let mut host = start(&place.data, SMALL).unwrap();
    assert!(host.append(&mut place.promises, 50).iter().all(acknowledged));
    turn();
    let answers = host.append(&mut place.promises, 10);
    let again = host.append(&mut place.promises, 10);
    for answer in answers.iter().chain(&again) {
        let message = answer.message();
        assert!(says.iter().any(|word| message.contains(word)), "{answer:?}");
    }
    let (count, error) = host.read();
    assert!(count == 50 || error.is_some(), "read {count} and no more");
    let told = host.stat().to_string();
    assert!(told.contains("latched") && says.iter().any(|word| told.contains(word)), "{told}");
    let (said, status) = host.close();
    assert!(status.success(), "{said} {status}");
    mount.again().unwrap();
    place.check(true).unwrap();
    assert!(place.append(10, &[], Until::ItsEnd).status.success());
    place.check(true).unwrap();
}

#[test]
fn a_filesystem_that_turns_read_only_fails_appends_and_gives_reads() {
    let name = "mounts::states::a_filesystem_that_turns_read_only_fails_appends_and_gives_reads";
    for (_, start) in HOSTS {
        let backing = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mount = match Mount::new(EXT4, 0, "errors=remount-ro", backing) {
            Ok(mount) => mount,
            Err(reason) => return skip(name, &reason),
        };
        // The kernel's own knob to say that it met an error in the filesystem.
        let knob = format!("/sys/fs/ext4/{}/trigger_fs_error", mount.device());
        let flip = || {
            fs::write(&knob, "test").unwrap();
            eventually("a read-only mount", || fs::write(mount.dir.join("probe"), b"").is_err());
        };
        turned(start, &mount, &flip, &["Read-only file system"]);
    }
}

#[test]
fn a_filesystem_that_is_shut_down_gives_errors_and_no_signal() {
    let name = "mounts::states::a_filesystem_that_is_shut_down_gives_errors_and_no_signal";
    for (_, start) in HOSTS {
        let mount = match Mount::plain(XFS) {
            Ok(mount) => mount,
            Err(reason) => return skip(name, &reason),
        };
        let shut = || {
            tool("xfs_io", &["-x", "-c", "shutdown -f", text(&mount.dir)]).unwrap();
        };
        turned(start, &mount, &shut, &["Input/output error", "Bad address"]);
    }
}

/// Thaws when dropped.
struct Frozen<'a>(&'a Mount);

impl<'a> Frozen<'a> {
    fn new(mount: &'a Mount) -> Result<Self, String> {
        tool("fsfreeze", &["-f", text(&mount.dir)])?;
        Ok(Self(mount))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = tool("fsfreeze", &["-u", text(&self.0.dir)]);
    }
}

#[test]
fn a_frozen_filesystem_is_waited_for_and_reads_go_on() {
    let name = "mounts::states::a_frozen_filesystem_is_waited_for_and_reads_go_on";
    for recipe in [EXT4, XFS] {
        let mount = match Mount::plain(recipe) {
            Ok(mount) => mount,
            Err(reason) => return skip(name, &reason),
        };
        let mut place = Place::new(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
        let options = format!("{SMALL},timeout=300");
        let mut writer = in_rust(&place.data, &options).unwrap();
        assert!(writer.append(&mut place.promises, 20).iter().all(acknowledged));
        let frozen = match Frozen::new(&mount) {
            Ok(frozen) => frozen,
            Err(reason) => return skip(name, &reason),
        };
        // Whether it waits at the deadline or in a store to its ring, nobody is told yes.
        writer.tell_append(&mut place.promises, 1);
        let lines = place.read().unwrap();
        assert_eq!(lines.len(), 20, "{}: reads go on", recipe.name);
        drop(frozen);
        let answer = writer.hear_append(&mut place.promises);
        let unknown = matches!(answer, Answer::Failed { outcome_unknown: true, .. });
        assert!(unknown || answer == Answer::Acknowledged(20), "{answer:?}");
        eventually("an acknowledgement", || {
            writer.append(&mut place.promises, 1).iter().all(acknowledged)
        });
        assert_eq!(writer.close().0, "CLOSED");
        place.check(true).unwrap();
    }
}
