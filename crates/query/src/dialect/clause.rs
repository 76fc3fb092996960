//! The clauses that are lifted out of a query's words.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::{
    ast::{Expr, Select},
    tokenizer::Location,
};

use super::calendar::{Stride, UNITS, Zone};
use crate::error::{Place, SqlCode, SqlError};

/// What was lifted out of one text, by the place of the SELECT whose block it stood in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clauses {
    blocks: BTreeMap<Location, Block>,
}

/// What was lifted out of one SELECT.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) sample: Option<Sample>,
    pub(crate) latest: Option<Latest>,
}

impl Clauses {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(crate) fn of(&self, select: &Select) -> Option<&Block> {
        self.blocks.get(&select.select_token.0.span.start)
    }

    pub(super) fn block(&mut self, at: Location) -> &mut Block {
        self.blocks.entry(at).or_default()
    }

    /// Every expression that was lifted.
    pub(crate) fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let samples = self.blocks.values_mut().filter_map(|block| block.sample.as_mut());
        samples.flat_map(|sample| sample.from.iter_mut().chain(&mut sample.to))
    }

    /// Puts lengths of time in the place of their parameters.
    pub(crate) fn resolve_lengths(&mut self, value: &dyn Fn(&str) -> Option<String>) -> Result<(), SqlError> {
        for sample in self.blocks.values_mut().filter_map(|block| block.sample.as_mut()) {
            let Length::Param { name, place } = &sample.stride else { continue };
            let Some(text) = value(name) else { continue };
            let Some(stride) = Stride::parse(&text) else {
                let error = SqlError::new(SqlCode::Parameter, format!("{text:?} is no length of time"));
                return Err(error.hint(format!("send a whole number and a unit: {UNITS}")).at(*place));
            };
            sample.stride = Length::Is(stride);
        }
        Ok(())
    }
}

/// SAMPLE BY.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) place: Place,
    pub(crate) stride: Length,
    pub(crate) from: Option<Expr>,
    pub(crate) to: Option<Expr>,
    /// Empty: rows are made for nothing.
    pub(crate) fill: Vec<Fill>,
    pub(crate) fill_place: Place,
    pub(crate) align: Align,
}

/// A stride, or the parameter that stands for one.
#[derive(Debug, Clone)]
pub(crate) enum Length {
    Is(Stride),
    Param { name: String, place: Place },
}

impl Sample {
    /// The stride; an error while its parameter has no value.
    pub(super) fn stride(&self) -> Result<Stride, SqlError> {
        match &self.stride {
            Length::Is(stride) => Ok(*stride),
            Length::Param { name, place } => {
                let message = format!("there is no value for the parameter {name}");
                let error = SqlError::new(SqlCode::Parameter, message);
                Err(error.hint("send a length of time like 5m").at(*place))
            }
        }
    }
}

/// What a made row shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fill {
    Null,
    Prev,
    Linear,
    Value(Box<Expr>),
}

/// ALIGN TO.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Align {
    Calendar { zone: Zone, offset_us: i64 },
    FirstObservation,
}

/// LATEST ON, LATEST BY.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    pub(crate) place: Place,
    /// The column of ON.
    pub(crate) on: Option<Expr>,
    pub(crate) keys: Vec<Expr>,
}
