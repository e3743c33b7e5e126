//! Set-ups that lie about what they keep, as far as that can be seen: the doctor says so, opening
//! refuses to promise *durable* there, and does it if it is told to.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{BTRFS, EXT4, Mount, Recipe};
use crate::program::{Place, Program};
use crate::{skip, tool};

/// Refused for this reason, by the doctor and by opening; open to who asks for it all the same.
fn refused(mount: &Mount, reason: &str) {
    let place = Place::not_yet(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
    let (told, code) = doctor(&place);
    assert_eq!((code, &told["durable"]), (Some(6), &Value::Bool(false)), "{told}");
    let why = told["refused"].as_str().unwrap();
    assert!(why.contains(reason), "{why}");
    let why = place.run(&["create-topic", "t"]).unwrap_err();
    assert!(why.contains("refused to promise durability") && why.contains(reason), "{why}");
    place.run(&["create-topic", "t", "--allow-volatile"]).unwrap();
}

fn doctor(place: &Place) -> (Value, Option<i32>) {
    let done = place.command(&[], &["doctor", "--json"]).output().unwrap();
    (serde_json::from_slice(&done.stdout).unwrap(), done.status.code())
}

/// Whether it promises *durable*, and what it remarks.
fn remarks(recipe: Recipe, options: &str) -> Result<(bool, String), String> {
    let mount = Mount::new(recipe, 0, options, Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let place = Place::not_yet(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
    let (told, _) = doctor(&place);
    assert_eq!(told["mount"]["filesystem"], recipe.name);
    assert!(told["disk"]["device"].as_str().unwrap().starts_with("loop"), "{told}");
    Ok((told["durable"] == true, told["notes"].to_string()))
}

#[test]
fn a_mount_without_barriers_over_a_volatile_cache_promises_nothing() {
    let name = "mounts::lies::a_mount_without_barriers_over_a_volatile_cache_promises_nothing";
    let backing = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for recipe in [EXT4, BTRFS] {
        match Mount::new(recipe, 0, "nobarrier", backing) {
            Ok(mount) => refused(&mount, "mounted with nobarrier"),
            Err(reason) => return skip(name, &reason),
        }
    }
}

#[test]
fn a_loop_device_whose_file_is_in_memory_promises_nothing() {
    let name = "mounts::lies::a_loop_device_whose_file_is_in_memory_promises_nothing";
    let memory = Path::new("/dev/shm");
    if tool("stat", &["-f", "-c", "%T", "/dev/shm"]).ok().as_deref() != Some("tmpfs\n") {
        return skip(name, "no tmpfs in /dev/shm");
    }
    for recipe in [EXT4, BTRFS] {
        match Mount::new(recipe, 0, "", memory) {
            Ok(mount) => refused(&mount, "tmpfs keeps nothing over a power loss"),
            Err(reason) => return skip(name, &reason),
        }
    }
}

/// Turns a loop device's flushes on again, however the test ends: the setting outlives the mount.
struct Restored<'a>(&'a str);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let _ = fs::write(self.0, "write back");
    }
}

#[test]
fn a_device_whose_flushes_were_turned_off_promises_nothing() {
    let name = "mounts::lies::a_device_whose_flushes_were_turned_off_promises_nothing";
    let mount = match Mount::plain(EXT4) {
        Ok(mount) => mount,
        Err(reason) => return skip(name, &reason),
    };
    // Of this mount's own loop device.
    let knob = format!("/sys/block/{}/queue/write_cache", mount.device());
    let _restored = Restored(&knob);
    if let Err(error) = fs::write(&knob, "write through") {
        return skip(name, &error.to_string());
    }
    refused(&mount, "passes no flush on to its file");
}

#[test]
fn what_is_only_worth_knowing_is_said_and_refuses_nothing() {
    let name = "mounts::lies::what_is_only_worth_knowing_is_said_and_refuses_nothing";
    let plain = match remarks(EXT4, "") {
        Ok((_, plain)) => plain,
        Err(reason) => return skip(name, &reason),
    };
    let durable_here = remarks(EXT4, "").unwrap().0;
    for (recipe, options, word) in [
        (EXT4, "data=writeback", "data=writeback"),
        (EXT4, "data=writeback,journal_async_commit", "journal_async_commit"),
        (BTRFS, "nodatacow", "nodatacow"),
    ] {
        let (durable, notes) = remarks(recipe, options).unwrap();
        assert!(notes.contains(word) && !plain.contains(word), "{options}: {notes}");
        assert_eq!(durable, durable_here, "{options}: {notes}");
    }
    assert!(!plain.contains("no journal"), "{plain}");
    let none = Recipe { mkfs: &["mkfs.ext4", "-q", "-F", "-O", "^has_journal"], ..EXT4 };
    let (durable, notes) = remarks(none, "").unwrap();
    assert!(durable == durable_here && notes.contains("no journal"), "{notes}");
}
