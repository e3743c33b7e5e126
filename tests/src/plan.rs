//! The steps of a scenario by name, so that a failing one can be told, and repeated, without those
//! that do not matter. Each step has dice of its own: what it does depends on the seed and on its
//! name, not on which others were taken.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Something a scenario does, or lets happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The disk or the options are not the simplest: one of [`VARIATIONS`].
    Vary(u8),
    /// A life, from an open to its end.
    Life(u8),
    /// Its open meets a fault of the device.
    OpenFault(u8),
    /// The `n`th kill during its open.
    OpenKill(u8, u8),
    /// Once it is open it is looked at twice: another reopening must find the same.
    Again(u8),
    /// A kill that comes while it acts.
    Kill(u8),
    /// The `n`th thing it does.
    Act(u8, u8),
}

/// What may be other than the simplest.
pub const VARIATIONS: [&str; 5] = ["shards", "latency", "order", "groups in flight", "spares"];

impl Step {
    /// What dice of this step start from.
    pub fn number(self) -> u64 {
        let (kind, life, at) = match self {
            Self::Vary(at) => (0, 0, at),
            Self::Life(life) => (1, life, 0),
            Self::OpenFault(life) => (2, life, 0),
            Self::OpenKill(life, at) => (3, life, at),
            Self::Again(life) => (4, life, 0),
            Self::Kill(life) => (5, life, 0),
            Self::Act(life, at) => (6, life, at),
        };
        kind << 16 | u64::from(life) << 8 | u64::from(at)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vary(at) => write!(f, "v{at}"),
            Self::Life(life) => write!(f, "l{life}"),
            Self::OpenFault(life) => write!(f, "f{life}"),
            Self::OpenKill(life, at) => write!(f, "o{life}.{at}"),
            Self::Again(life) => write!(f, "r{life}"),
            Self::Kill(life) => write!(f, "k{life}"),
            Self::Act(life, at) => write!(f, "a{life}.{at}"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no step");
        let kind = text.chars().next().ok_or_else(wrong)?;
        let rest = &text[kind.len_utf8()..];
        let (life, at) = rest.split_once('.').unwrap_or((rest, "0"));
        let life = life.parse().map_err(|_| wrong())?;
        let at = at.parse().map_err(|_| wrong())?;
        match kind {
            'v' => Ok(Self::Vary(life)),
            'l' => Ok(Self::Life(life)),
            'f' => Ok(Self::OpenFault(life)),
            'o' => Ok(Self::OpenKill(life, at)),
            'r' => Ok(Self::Again(life)),
            'k' => Ok(Self::Kill(life)),
            'a' => Ok(Self::Act(life, at)),
            _ => Err(wrong()),
        }
    }
}

/// Which steps of a scenario to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// `None`: all.
    kept: Option<BTreeSet<Step>>,
}

impl Plan {
    /// Only these.
    pub fn only(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { kept: Some(steps.into_iter().collect()) }
    }

    /// Whether this one is taken.
    pub fn has(&self, step: Step) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.contains(&step))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.kept.iter().flatten().map(ToString::to_string);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').filter(|name| !name.is_empty());
        Ok(Self::only(names.map(str::parse).collect::<Result<Vec<_>, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_own_text() {
        let steps = [
            Step::Vary(3),
            Step::Life(1),
            Step::OpenFault(1),
            Step::OpenKill(1, 2),
            Step::Again(1),
            Step::Kill(1),
            Step::Act(1, 59),
        ];
        let plan = Plan::only(steps);
        assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
        assert!(plan.has(Step::Act(1, 59)) && !plan.has(Step::Act(1, 58)));
        for wrong in ["x1", "a", "l1.x", "ä1"] {
            assert!(wrong.parse::<Step>().is_err(), "{wrong}");
        }
    }
}
