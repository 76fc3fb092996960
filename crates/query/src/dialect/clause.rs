//! The clauses that are lifted out of a query's words.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::{
    ast::{Expr, Select, Value},
    tokenizer::Location,
};

use super::calendar::{Stride, UNITS, Zone, offset_us};
use crate::{
    error::{Place, SqlCode, SqlError},
    stand_in::{self, Placed},
};

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
        self.samples_mut().flat_map(|sample| {
            let fills = sample.fill.iter_mut().filter_map(|fill| match fill {
                Fill::Value(value) => Some(&mut **value),
                Fill::Null | Fill::Prev | Fill::Linear => None,
            });
            sample.from.iter_mut().chain(&mut sample.to).chain(fills)
        })
    }

    fn samples_mut(&mut self) -> impl Iterator<Item = &mut Sample> {
        self.blocks.values_mut().filter_map(|block| block.sample.as_mut())
    }

    /// Puts constants in the place of parameters that have no values yet.
    pub(crate) fn stand_in(&mut self, placed: &mut Placed) {
        for sample in self.samples_mut() {
            for bound in sample.from.iter_mut().chain(&mut sample.to) {
                stand_in::replace(bound, &Value::Null, &stand_in::TIME, placed);
            }
            for fill in &mut sample.fill {
                if let Fill::Value(value) = fill {
                    let zero = Value::Number("0".to_owned(), false);
                    stand_in::replace(value, &zero, &DataType::Float64, placed);
                }
            }
            if let Length::Param(param) = &sample.stride
                && let Some(index) = stand_in::index(&param.name)
            {
                placed.insert(index, DataType::Utf8);
                sample.stride = Stride::parse("1h").map_or(Length::Param(param.clone()), Length::Is);
            }
            for param in [&mut sample.zone, &mut sample.offset] {
                if let Some(index) = param.as_ref().and_then(|param| stand_in::index(&param.name)) {
                    placed.insert(index, DataType::Utf8);
                    *param = None;
                }
            }
        }
    }

    /// Puts lengths of time, zones and offsets in the place of their parameters.
    pub(crate) fn resolve(&mut self, value: &dyn Fn(&str) -> Option<String>) -> Result<(), SqlError> {
        for sample in self.samples_mut() {
            if let Length::Param(param) = &sample.stride {
                let (text, place) = (param.text(value, "a length of time like 5m")?, param.place);
                let refuse = || SqlError::new(SqlCode::Parameter, format!("{text:?} is no length of time"));
                sample.stride = Length::Is(Stride::parse(&text).ok_or_else(|| {
                    refuse().hint(format!("send a whole number and a unit: {UNITS}")).at(place)
                })?);
            }
            let Align::Calendar { zone, offset_us } = &mut sample.align else { continue };
            if let Some(param) = sample.zone.take() {
                *zone = read_zone(&param.text(value, ZONES)?).map_err(|error| error.at(param.place))?;
            }
            if let Some(param) = sample.offset.take() {
                *offset_us =
                    read_offset(&param.text(value, OFFSETS)?).map_err(|error| error.at(param.place))?;
            }
        }
        Ok(())
    }
}

const ZONES: &str = "a name of the IANA database, 'Europe/Berlin', or '+02:00'";
const OFFSETS: &str = "hours and minutes: '00:15' or '-02:00'";

/// TIME ZONE's text.
pub(super) fn read_zone(text: &str) -> Result<Zone, SqlError> {
    let error = || SqlError::new(SqlCode::Syntax, format!("{text:?} is no time zone"));
    Zone::parse(text).ok_or_else(|| error().hint(format!("write {ZONES}")))
}

/// WITH OFFSET's text.
pub(super) fn read_offset(text: &str) -> Result<i64, SqlError> {
    let error = || SqlError::new(SqlCode::Syntax, format!("{text:?} is no offset"));
    offset_us(text).ok_or_else(|| error().hint(format!("write {OFFSETS}")))
}

/// A parameter where a clause takes a text.
#[derive(Debug, Clone)]
pub(crate) struct TextParam {
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl TextParam {
    fn text(&self, value: &dyn Fn(&str) -> Option<String>, what: &str) -> Result<String, SqlError> {
        value(&self.name).ok_or_else(|| {
            let message = format!("there is no text for the parameter {}", self.name);
            SqlError::new(SqlCode::Parameter, message).hint(format!("send {what}")).at(self.place)
        })
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
    /// The parameter that stands for its zone.
    pub(crate) zone: Option<TextParam>,
    /// The parameter that stands for its offset.
    pub(crate) offset: Option<TextParam>,
}

/// A stride, or the parameter that stands for one.
#[derive(Debug, Clone)]
pub(crate) enum Length {
    Is(Stride),
    Param(TextParam),
}

impl Sample {
    /// The stride; an error while its parameter has no value.
    pub(super) fn stride(&self) -> Result<Stride, SqlError> {
        match &self.stride {
            Length::Is(stride) => Ok(*stride),
            Length::Param(param) => {
                let message = format!("there is no value for the parameter {}", param.name);
                let error = SqlError::new(SqlCode::Parameter, message);
                Err(error.hint("send a length of time like 5m").at(param.place))
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
