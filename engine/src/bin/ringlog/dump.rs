//! `ringlog dump`: what lies on disk, log by log, group by group.

use std::ops::ControlFlow;

use ringlog::inspect::{BatchInfo, Body, FrameInfo, Inspector, Item, LogInfo};
use serde::Serialize;

use super::args::{Dump, Place};
use super::exit::{Exit, Failure};
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Progress;

pub fn run(place: &Place, args: &Dump, interrupt: &Interrupt) -> Result<(), Failure> {
    let data = place.data()?;
    let failed = |error| Failure::engine(data, &error);
    let inspector = Inspector::open(data).map_err(failed)?;
    let mut logs = inspector.logs().map_err(failed)?;
    if let Some(only) = args.log {
        logs.retain(|log| log.id == only);
        if logs.is_empty() {
            let what = format_args!("{}: there is no log {only}", data.display());
            return Err(Failure::new(Exit::Unknown, what));
        }
    }
    let total = logs.iter().flat_map(|log| &log.segments).map(|segment| segment.len_bytes).sum();
    let mut dump = Dumper {
        form: if args.raw {
            Form::Raw
        } else if args.json {
            Form::Json
        } else {
            Form::Text
        },
        output: Output::new(),
        progress: Progress::new(Some(total)),
        damage: None,
    };
    for log in &logs {
        dump.log(log)?;
        let mut broken_off = None;
        let mut visit = |item: Item<'_>| {
            let done = if interrupt.is_asked() {
                Err(Failure::quiet(Exit::Interrupted))
            } else {
                dump.item(item)
            };
            Ok(match done {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    broken_off = Some(failure);
                    ControlFlow::Break(())
                }
            })
        };
        inspector.walk(log.id, &mut visit).map_err(failed)?;
        if let Some(failure) = broken_off {
            return Err(failure);
        }
    }
    dump.output.flush()?;
    dump.damage.map_or(Ok(()), Err)
}

enum Form {
    Text,
    Json,
    Raw,
}

struct Dumper {
    form: Form,
    output: Output,
    progress: Progress,
    /// The first place found damaged.
    damage: Option<Failure>,
}

impl Dumper {
    fn log(&mut self, log: &LogInfo) -> Result<(), Failure> {
        match self.form {
            Form::Raw => Ok(()),
            Form::Json => self.json("log", log),
            Form::Text => self.log_text(log),
        }
    }

    fn log_text(&mut self, log: &LogInfo) -> Result<(), Failure> {
        let flush = log.flush.map_or("unknown class".to_owned(), |flush| flush.to_string());
        let uuid = log.uuid.map_or("unknown uuid".to_owned(), |uuid| uuid.to_string());
        self.output.line(format_args!("log {}: {flush}, {uuid}", log.path.display()))?;
        for checkpoint in &log.checkpoints {
            let path = checkpoint.path.display();
            let clean = if checkpoint.clean { ", clean" } else { "" };
            self.output.line(format_args!(
                "checkpoint {path}: sequence {}, position {}, epoch {}{clean}",
                checkpoint.sequence, checkpoint.position, checkpoint.epoch
            ))?;
        }
        for index in &log.indexes {
            let path = index.path.display();
            self.output.line(format_args!("index {path}: {} bytes", index.len_bytes))?;
        }
        let Some(ring) = &log.ring else { return Ok(()) };
        self.output.line(format_args!(
            "ring {}: {} bytes, {} to replay, committed {}, durable {}, epoch {}",
            ring.path.display(),
            ring.len_bytes,
            ring.replay_bytes,
            ring.committed,
            ring.durable,
            ring.epoch,
        ))
    }

    fn item(&mut self, item: Item<'_>) -> Result<(), Failure> {
        if let Item::Damage(finding) = item {
            self.damage.get_or_insert_with(|| Failure::damage(finding));
        }
        if let Item::Group(group) = item {
            self.progress.advance(u64::from(group.used_bytes));
        }
        match (&self.form, item) {
            (Form::Raw, Item::Frame(FrameInfo { body: Body::Batch(_), payload, .. })) => {
                self.output.bytes(payload)
            }
            (Form::Raw, _) => Ok(()),
            (Form::Json, item) => self.item_json(item),
            (Form::Text, item) => self.item_text(item),
        }
    }

    fn item_json(&mut self, item: Item<'_>) -> Result<(), Failure> {
        match item {
            Item::Segment(segment) => self.json("segment", segment),
            Item::Group(group) => self.json("group", group),
            Item::Frame(frame) => self.json("frame", frame),
            Item::Damage(finding) => self.json("damage", finding),
            Item::End(end) => self.json("end", &end),
            _ => Ok(()),
        }
    }

    fn json(&mut self, kind: &str, value: &impl Serialize) -> Result<(), Failure> {
        self.output.json(&serde_json::json!({ kind: value }))
    }

    fn item_text(&mut self, item: Item<'_>) -> Result<(), Failure> {
        let output = &mut self.output;
        match item {
            Item::Segment(segment) => output.line(format_args!(
                "segment {}: position {}, {} bytes, {}",
                segment.path.display(),
                segment.base,
                segment.len_bytes,
                format!("{:?}", segment.state).to_lowercase(),
            )),
            Item::Group(group) => output.line(format_args!(
                "  group at {}: position {}, {} bytes, {} frames, epoch {}, durable up to {}{}{}",
                group.at,
                group.position,
                group.used_bytes,
                group.frames,
                group.epoch,
                group.durable_upto,
                if group.last { ", last" } else { "" },
                if group.cut { ", cut" } else { "" },
            )),
            Item::Frame(frame) => self.frame_text(frame),
            Item::Damage(finding) => output.line(format_args!("{finding}")),
            Item::End(end) => output.line(format_args!(
                "end: position {}, {}, {} bytes torn\n",
                end.position,
                if end.clean { "clean" } else { "not closed cleanly" },
                end.torn_bytes,
            )),
            _ => Ok(()),
        }
    }

    fn frame_text(&mut self, frame: &FrameInfo<'_>) -> Result<(), Failure> {
        let owner = match (frame.topic, frame.partition) {
            (Some(topic), Some(partition)) => format!("{topic}/{partition}"),
            _ => format!("stream {}", frame.stream),
        };
        let continues = if frame.continues { ", continues" } else { "" };
        let output = &mut self.output;
        output.line(format_args!(
            "    frame at {}: {owner}, {} bytes of payload{continues}",
            frame.at, frame.payload_bytes
        ))?;
        match &frame.body {
            Body::Batch(batch) => batch_text(batch, output),
            Body::Metadata(json) => output.line(format_args!("      metadata {json}")),
            Body::Trim(offset) => output.line(format_args!("      trim before offset {offset}")),
            _ => Ok(()),
        }
    }
}

fn batch_text(batch: &BatchInfo, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!(
        "      batch of {} records: offsets {} to {}, crc {}{}",
        batch.records,
        batch.base_offset,
        batch.last_offset,
        if batch.crc_ok { "ok" } else { "WRONG" },
        batch.trouble.as_ref().map_or(String::new(), |trouble| format!(", {trouble}")),
    ))
}
