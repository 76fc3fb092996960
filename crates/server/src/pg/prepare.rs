//! Texts to statements that can be run and described.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use nowcast_query::{Params, Piece, Statement};
use pgwire::api::Type;

use super::{
    catalog::{Asked, PgCatalog, TYPES, TYPES_OF_ASYNCPG},
    encode::{param_type, plain_schema},
    error::{Failure, WireError},
};
use crate::sql::{Session, Sql};

/// A statement, and who runs it.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// The engine.
    Ours(Arc<Statement>),
    /// The catalogue. It is planned each time: tables come and go.
    Catalogue(Arc<Asked>),
}

/// What `Parse` makes.
#[derive(Debug)]
pub(super) struct Prepared {
    /// `None` for an empty text.
    pub(super) kind: Option<Kind>,
    /// The types that the client declared.
    pub(super) declared: Vec<Option<Type>>,
    /// The types of all parameters.
    pub(super) params: Vec<Type>,
    /// The result's columns, if it has some.
    pub(super) schema: Option<SchemaRef>,
    /// Bytes of its text.
    pub(super) bytes: usize,
}

impl Kind {
    /// Parses one statement.
    pub(super) fn parse(piece: &Piece, catalog: &PgCatalog) -> Result<Kind, Failure> {
        if !PgCatalog::wants(piece) {
            return Ok(Kind::Ours(Arc::new(piece.parse()?)));
        }
        let text = if is_for_types(piece) { TYPES } else { piece.sql() };
        Ok(Kind::Catalogue(Arc::new(Asked::parse(&catalog.parser, text)?)))
    }
}

fn is_for_types(piece: &Piece) -> bool {
    piece.words().any(|(word, _)| word == TYPES_OF_ASYNCPG)
}

/// Parses and describes a text of one statement.
pub(super) async fn prepare(
    sql: &Sql,
    catalog: &PgCatalog,
    session: &Session,
    text: &str,
    types: &[u32],
) -> Result<Prepared, Failure> {
    // A type that is not told is told by its place.
    let known = |oid: &u32| Type::from_oid(*oid).filter(|ty| *ty != Type::UNKNOWN);
    let declared: Vec<Option<Type>> = types.iter().map(known).collect();
    let pieces = sql.engine().split(text)?;
    let piece = match pieces.as_slice() {
        [] => return Ok(Prepared { kind: None, declared, params: Vec::new(), schema: None, bytes: 0 }),
        [piece] => piece,
        _ => {
            let error = WireError::new("42601", "a prepared statement is one statement");
            return Err(error.hint("send them one at a time, or as a simple query").into());
        }
    };
    let kind = Kind::parse(piece, catalog)?;
    let (inferred, schema) = match &kind {
        Kind::Ours(statement) => {
            let ctx = sql.context(session, Params::default(), None);
            let described = sql.describe(session, &ctx, statement).await?;
            let schema = statement.is_query().then(|| plain_schema(&described.schema));
            (described.params, schema)
        }
        Kind::Catalogue(statement) => {
            let plan = catalog.plan(statement, session).await?;
            let types = plan.get_parameter_types().map_err(|e| WireError::from(&e))?;
            if is_for_types(piece) {
                return Ok(Prepared {
                    kind: Some(kind),
                    declared,
                    params: vec![Type::OID_ARRAY],
                    schema: Some(plain_schema(plan.schema().as_arrow())),
                    bytes: text.len(),
                });
            }
            let ty = |number: usize| types.get(&format!("${number}")).cloned().flatten();
            ((1..=types.len()).map(ty).collect(), Some(plain_schema(plan.schema().as_arrow())))
        }
    };
    let param = |index: usize| {
        let told = declared.get(index).cloned().flatten();
        told.unwrap_or_else(|| param_type(inferred.get(index).and_then(Option::as_ref)))
    };
    let params = (0..declared.len().max(inferred.len())).map(param).collect();
    Ok(Prepared { kind: Some(kind), declared, params, schema, bytes: text.len() })
}
