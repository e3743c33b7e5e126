//! The JSON lines, read back: what the latest one says of each workload and each point of a series,
//! with the machine that the line before it in its file names.

use ringlog_benches::error::{Context, Result};
use serde::Deserialize;

use crate::peers::figures::WorkFigures;
use crate::peers::run::{Point, Skipped};
use crate::peers::work::{SCALES, WORKS};

/// Where a line was measured.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Machine {
    kernel: String,
    cpus: usize,
    cpu: Option<String>,
    memory_mib: u64,
    filesystem: Option<String>,
    git_commit: Option<String>,
    /// Repeats that were asked for.
    pub repeats: usize,
    /// Whether it was only a look.
    pub quick: bool,
}

impl Machine {
    /// In one line.
    pub fn line(&self) -> String {
        let unknown = || "unknown".to_owned();
        format!(
            "kernel {}, {} x {}, {} GiB, {}, commit {}, {} repeats{}",
            self.kernel,
            self.cpus,
            self.cpu.clone().unwrap_or_else(unknown),
            self.memory_mib / 1024,
            self.filesystem.clone().unwrap_or_else(unknown),
            self.git_commit.clone().unwrap_or_else(unknown),
            self.repeats,
            if self.quick { ", a quick look only" } else { "" },
        )
    }
}

/// A workload over all who took part.
#[derive(Clone, Debug)]
pub struct Work {
    /// Where.
    pub machine: Machine,
    /// What.
    pub figures: WorkFigures,
}

/// A series of points of ours.
#[derive(Clone, Debug)]
pub struct Series {
    /// Where; of the latest point.
    pub machine: Machine,
    /// What grows.
    pub name: String,
    /// The points, smallest value first.
    pub points: Vec<Point>,
}

/// All that is drawn.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The workloads, in their order.
    pub works: Vec<Work>,
    /// The series, in their order.
    pub series: Vec<Series>,
    /// Who was skipped.
    pub skipped: Vec<Skipped>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Results {
    /// Adds the lines of a file; kinds that are not drawn are passed over.
    pub fn add(&mut self, lines: &str) -> Result<()> {
        let mut machine = Machine::default();
        for (number, line) in lines.lines().enumerate() {
            let what = || format!("line {}", number + 1);
            let Kind { kind } = serde_json::from_str(line).context(what())?;
            match kind.as_str() {
                "machine" => machine = serde_json::from_str(line).context(what())?,
                "peers" => {
                    let figures: WorkFigures = serde_json::from_str(line).context(what())?;
                    self.works.retain(|work| work.figures.workload != figures.workload);
                    self.works.push(Work { machine: machine.clone(), figures });
                }
                "scale" => self.point(&machine, serde_json::from_str(line).context(what())?),
                "skipped" => {
                    let skip: Skipped = serde_json::from_str(line).context(what())?;
                    self.skipped.retain(|other| other.peer != skip.peer);
                    self.skipped.push(skip);
                }
                _ => {}
            }
        }
        let order = |name: &str| WORKS.iter().position(|spec| spec.name == name);
        self.works.sort_by_key(|work| order(&work.figures.workload));
        let order = |name: &str| SCALES.iter().position(|scale| scale.name == name);
        self.series.sort_by_key(|series| order(&series.name));
        Ok(())
    }

    fn point(&mut self, machine: &Machine, point: Point) {
        let at = self.series.iter().position(|series| series.name == point.series);
        let at = at.unwrap_or_else(|| {
            let name = point.series.clone();
            self.series.push(Series { machine: machine.clone(), name, points: Vec::new() });
            self.series.len() - 1
        });
        let series = &mut self.series[at];
        series.machine = machine.clone();
        series.points.retain(|other| other.value != point.value);
        series.points.push(point);
        series.points.sort_by_key(|point| point.value);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::peers::figures::tests::example as figures;

    fn line(kind: &str, value: &impl serde::Serialize) -> String {
        let mut value = serde_json::to_value(value).expect("it is encoded");
        value["kind"] = kind.into();
        value.to_string()
    }

    fn machine(kernel: &str) -> String {
        format!(
            "{{\"kind\":\"machine\",\"kernel\":\"{kernel}\",\"cpus\":2,\"cpu\":null,\
             \"memory_mib\":4096,\"filesystem\":\"ext4\",\"git_commit\":\"abc\",\"repeats\":5,\
             \"quick\":false,\"more\":1}}"
        )
    }

    /// Two workloads, a series of two points, and one who was skipped.
    pub fn example() -> String {
        let point = |value: u32| {
            let name = format!("producers-{value}");
            line("scale", &Point { series: "producers".into(), value, figures: figures(&name) })
        };
        let skipped = Skipped { peer: "RocketMQ".into(), why: "it is not here".into() };
        [
            machine("6.1"),
            line("peers", &figures("64")),
            machine("6.2"),
            line("peers", &figures("one")),
            point(4),
            point(1),
            line("skipped", &skipped),
            "{\"kind\":\"syncs\",\"entrant\":\"x\"}".to_owned(),
        ]
        .join("\n")
    }

    #[test]
    fn each_line_belongs_to_the_machine_before_it_and_later_lines_replace_earlier_ones() {
        let mut results = Results::default();
        results.add(&example()).expect("the lines are ours");
        let seen: Vec<_> = results
            .works
            .iter()
            .map(|work| (work.figures.workload.as_str(), work.machine.kernel.as_str()))
            .collect();
        assert_eq!(seen, [("one", "6.2"), ("64", "6.1")], "in the order of the workloads");
        let values: Vec<u32> = results.series[0].points.iter().map(|point| point.value).collect();
        assert_eq!(values, [1, 4]);
        let again = [machine("6.3"), line("peers", &figures("64"))].join("\n");
        results.add(&again).expect("and these");
        assert_eq!(results.works.len(), 2);
        assert_eq!(results.works[1].machine.kernel, "6.3");
        assert_eq!(results.skipped[0].peer, "RocketMQ");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let text = format!("{}\nnonsense", machine("6.1"));
        let error = Results::default().add(&text).expect_err("the second is none");
        assert!(error.to_string().starts_with("line 2"), "{error}");
    }
}
