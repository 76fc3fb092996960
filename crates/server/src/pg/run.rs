//! Statements, run.

use std::sync::Arc;

use nowcast_query::{Declare, Fetch, Param, Statement};

use super::{
    connection::{Connection, Portal, State, Status, guard, no_cursor},
    encode::plain_schema,
    error::{Failure, WireError},
    params,
    prepare::{Kind, Prepared},
    rows::{Batches, Formats, Source, describe},
    settings::Told,
};
use crate::sql::Answer;

/// What a statement came to.
enum Step {
    /// Rows that are not sent yet.
    Rows(Source),
    /// All of it, with the command tag.
    Done(String),
}

impl Connection {
    /// Runs a statement of a simple query and sends its rows; its command tag.
    pub(super) async fn run_simple(&mut self, kind: &Kind) -> Result<String, Failure> {
        if let Some(fetch) = as_fetch(kind) {
            return self.fetch(kind, fetch, None).await;
        }
        match self.step(kind, Vec::new()).await? {
            Step::Done(tag) => Ok(tag),
            Step::Rows(mut source) => {
                let formats = Formats::default();
                describe(&mut self.writer, Some(&source.schema), &formats);
                let timeout = self.sql.timeout(&self.session);
                let send = source.send(&mut self.writer, &formats, None, false);
                let (rows, _) = guard(&mut self.reader, &self.cancel, timeout, send).await?;
                Ok(rows_tag(kind, rows))
            }
        }
    }

    /// Runs a portal, or goes on with it.
    pub(super) async fn execute(&mut self, name: &str, rows_max: u32) -> Result<(), Failure> {
        // It is put back below, unless the statement ended its transaction.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
        let Some(kind) = portal.prepared.kind.clone() else {
            self.writer.put(b'I', |_| {});
            return Ok(());
        };
        self.check_status(&kind)?;
        if matches!(portal.state, State::New) {
            if let Some(fetch) = as_fetch(&kind) {
                let tag = self.fetch(&kind, fetch, Some(portal.formats.clone())).await?;
                self.writer.complete(&tag);
                portal.state = State::Done;
            } else {
                self.session.cursor = rows_max > 0;
                let step = self.step(&kind, std::mem::take(&mut portal.params)).await;
                self.session.cursor = false;
                match step? {
                    Step::Rows(source) => {
                        check_described(&portal.prepared, &source)?;
                        portal.state = State::Open(source);
                    }
                    Step::Done(tag) => {
                        self.writer.complete(&tag);
                        portal.state = State::Done;
                    }
                }
            }
        } else if matches!(portal.state, State::Done) {
            self.writer.complete(&rows_tag(&kind, 0));
        }
        if let State::Open(source) = &mut portal.state {
            let max = (rows_max > 0).then_some(u64::from(rows_max));
            let timeout = self.sql.timeout(&self.session);
            let send = source.send(&mut self.writer, &portal.formats, max, false);
            let (rows, more) = guard(&mut self.reader, &self.cancel, timeout, send).await?;
            if more {
                self.writer.put(b's', |_| {});
            } else {
                self.writer.complete(&rows_tag(&kind, rows));
                portal.state = State::Done;
            }
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(self.writer.make_room().await?)
    }

    async fn step(&mut self, kind: &Kind, params: Vec<Param>) -> Result<Step, Failure> {
        self.check_status(kind)?;
        self.begin_implicit();
        let timeout = self.sql.timeout(&self.session);
        let statement = match kind {
            Kind::Ours(statement) => Arc::clone(statement),
            Kind::Catalogue(statement) => {
                let work = async {
                    let plan = self.catalog.plan(statement, &self.session).await?;
                    let plan = plan.replace_params_with_values(&params::scalars(params));
                    let plan = plan.map_err(|e| WireError::from(&e))?;
                    let stream = self.catalog.run(statement, plan).await?;
                    let schema = plain_schema(&stream.schema());
                    Ok::<_, Failure>(Source::new(Batches::Catalogue(stream), schema))
                };
                return guard(&mut self.reader, &self.cancel, timeout, work).await.map(Step::Rows);
            }
        };
        let done = |tag: &str| Ok(Step::Done(tag.to_owned()));
        match &*statement {
            query if query.is_query() => self.query(query, params).await.map(Step::Rows),
            write if write.is_write() => self.write(write, params).await.map(Step::Done),
            Statement::Copy(copy) => self.copy(copy).await.map(|rows| Step::Done(format!("COPY {rows}"))),
            Statement::Declare(declare) => {
                self.declare(declare, params).await?;
                done("DECLARE CURSOR")
            }
            Statement::Set { name, value: None } if name == "all" => {
                self.settings.reset(&mut self.session);
                done("RESET")
            }
            Statement::Set { name, value } => {
                let told = self.settings.set(&mut self.session, name, value.as_deref())?;
                self.tell(told);
                done(statement.tag())
            }
            Statement::SetAll(variables) => {
                for (name, value) in variables {
                    let told = self.settings.set(&mut self.session, name, value.as_deref())?;
                    self.tell(told);
                }
                done("SET")
            }
            Statement::SetLocal(variables) => {
                self.set_local(variables)?;
                done("SET")
            }
            Statement::Begin(variables) => {
                if self.status == Status::Idle {
                    self.status = Status::Open;
                } else {
                    self.warn("25001", "there is already a transaction in progress");
                }
                self.session.begin();
                self.set_local(variables)?;
                done("BEGIN")
            }
            Statement::Commit | Statement::Rollback => self.end(&statement).await.map(Step::Done),
            Statement::Savepoint { name, does } => {
                let transaction = self.session.transaction.as_mut().filter(|_| self.status != Status::Idle);
                let Some(transaction) = transaction else {
                    let message = format!("{} can only be used in a transaction", statement.tag());
                    return Err(WireError::new("25P01", message).hint("BEGIN before it").into());
                };
                transaction.savepoint(name, *does)?;
                self.status = Status::Open;
                done(statement.tag())
            }
            Statement::Discard { word, name } => self.discard(word, name).map(Step::Done),
            Statement::Grant { word } => done(word),
            other => {
                let message = format!("{} is not supported here", other.tag());
                Err(WireError::new("0A000", message).into())
            }
        }
    }

    pub(super) async fn query(
        &mut self,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<Source, Failure> {
        let timeout = self.sql.timeout(&self.session);
        let run = self.sql.run(&mut self.session, statement, params::positional(params), None);
        match guard(&mut self.reader, &self.cancel, timeout, run).await? {
            Answer::Rows(rows) => {
                let schema = plain_schema(&rows.schema);
                Ok(Source::new(Batches::Ours(rows), schema))
            }
            Answer::Done { tag, .. } => Err(WireError::new("XX000", format!("{tag} has no rows")).into()),
        }
    }

    async fn write(&mut self, statement: &Statement, params: Vec<Param>) -> Result<String, Failure> {
        let is_insert = matches!(statement, Statement::Insert(_));
        let (timeout, params) = (self.sql.timeout(&self.session), params::positional(params));
        let tag = statement.tag();
        // What is made can be called off, appending it cannot: whoever is told that nothing was written must be right.
        if statement.mutates() {
            let choose = self.sql.choose(&mut self.session, statement, params, None);
            let chosen = guard(&mut self.reader, &self.cancel, timeout, choose).await?;
            let rows = self.sql.change(chosen).await?;
            return Ok(format!("{tag} {rows}"));
        }
        let records = self.sql.records(&self.session, statement, params, None);
        let mut records = guard(&mut self.reader, &self.cancel, timeout, records).await?;
        let mut rows = 0;
        loop {
            let next = async { records.next().await.transpose() };
            let Some(items) = guard(&mut self.reader, &self.cancel, timeout, next).await? else { break };
            rows += crate::sql::rows_of(&items);
            self.sql.write(&mut self.session, statement, items).await?;
        }
        if self.status == Status::Open && !is_insert {
            let message = format!("{tag} is written at once; ROLLBACK does not undo it");
            self.writer.tell(&WireError::notice("NOTICE", "00000", message));
        }
        Ok(match statement {
            Statement::Insert(_) => format!("INSERT 0 {rows}"),
            statement if statement.inserts() => format!("{tag} {rows}"),
            _ => tag.to_owned(),
        })
    }

    fn warn(&mut self, code: &'static str, message: &str) {
        self.writer.tell(&WireError::notice("WARNING", code, message));
    }

    async fn end(&mut self, statement: &Statement) -> Result<String, Failure> {
        let commits = matches!(statement, Statement::Commit);
        let status = std::mem::replace(&mut self.status, Status::Idle);
        self.close_portals();
        if status == Status::Idle {
            self.warn("25P01", "there is no transaction in progress");
        }
        let committed = match commits && status != Status::Failed {
            true => self.sql.commit(&mut self.session).await.map(|()| "COMMIT"),
            false => {
                self.session.transaction = None;
                Ok("ROLLBACK")
            }
        };
        let told = self.settings.end_local(&mut self.session);
        self.tell(told);
        Ok(committed?.to_owned())
    }

    fn set_local(&mut self, variables: &[(String, Option<String>)]) -> Result<(), Failure> {
        if self.status == Status::Idle && !variables.is_empty() {
            self.warn("25P01", "SET LOCAL can only be used in a transaction");
            return Ok(());
        }
        for (name, value) in variables {
            let told = self.settings.set_local(&mut self.session, name, value.as_deref())?;
            self.tell(told);
        }
        Ok(())
    }

    /// Tells the client of variables that it follows.
    fn tell(&mut self, told: impl IntoIterator<Item = Told>) {
        for (name, value) in told {
            self.writer.parameter(name, &value);
        }
    }

    fn discard(&mut self, word: &str, name: &str) -> Result<String, Failure> {
        let all = name.is_empty() || name.eq_ignore_ascii_case("ALL");
        match (word, all) {
            ("CLOSE", false) => {
                self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
                Ok("CLOSE CURSOR".to_owned())
            }
            ("CLOSE", true) => {
                self.portals.clear();
                Ok("CLOSE CURSOR ALL".to_owned())
            }
            ("DEALLOCATE", false) => {
                let error = || WireError::new("26000", format!("there is no prepared statement {name:?}"));
                self.statements.remove(name).ok_or_else(error)?;
                Ok("DEALLOCATE".to_owned())
            }
            ("DEALLOCATE", true) => {
                self.statements.clear();
                Ok("DEALLOCATE ALL".to_owned())
            }
            ("DISCARD", true) => {
                self.statements.clear();
                self.portals.clear();
                self.settings.reset(&mut self.session);
                Ok("DISCARD ALL".to_owned())
            }
            _ => Ok(word.to_owned()),
        }
    }

    async fn declare(&mut self, declare: &Declare, params: Vec<Param>) -> Result<(), Failure> {
        let at = Some(declare.place.position + 1);
        if self.status == Status::Idle && !declare.hold {
            let error = WireError {
                position: at,
                ..WireError::new("25P01", "a cursor ends with its transaction, and none is open")
            };
            return Err(error.hint("BEGIN before it, or declare it WITH HOLD").into());
        }
        if self.portals.contains_key(&declare.name) {
            let message = format!("the cursor {:?} exists already", declare.name);
            return Err(WireError { position: at, ..WireError::new("42P03", message) }
                .hint("CLOSE it first")
                .into());
        }
        self.check_portals()?;
        self.session.cursor = true;
        let source = self.query(&Statement::Query(declare.query.clone()), params).await;
        self.session.cursor = false;
        let source = source?;
        let prepared = Prepared {
            kind: None,
            declared: Vec::new(),
            params: Vec::new(),
            schema: Some(source.schema.clone()),
            bytes: 0,
        };
        let formats = if declare.binary { Formats::binary() } else { Formats::default() };
        let portal = Portal {
            prepared: Arc::new(prepared),
            params: Vec::new(),
            formats,
            state: State::Open(source),
            hold: declare.hold,
            bytes: 0,
        };
        self.portals.insert(declare.name.clone(), portal);
        Ok(())
    }

    /// FETCH or MOVE. A simple query is told of the columns; `formats` are those of an extended one.
    async fn fetch(
        &mut self,
        kind: &Kind,
        fetch: &Fetch,
        formats: Option<Formats>,
    ) -> Result<String, Failure> {
        self.check_status(kind)?;
        self.begin_implicit();
        let timeout = self.sql.timeout(&self.session);
        let portal = self.portals.get_mut(&fetch.name).ok_or_else(|| WireError {
            position: Some(fetch.place.position + 1),
            ..no_cursor(&fetch.name)
        })?;
        let is_simple = formats.is_none();
        let formats = formats.unwrap_or_else(|| portal.formats.clone());
        if is_simple && !fetch.moves {
            describe(&mut self.writer, portal.prepared.schema.as_ref(), &formats);
        }
        let mut rows = 0;
        if let State::Open(source) = &mut portal.state {
            let send = source.send(&mut self.writer, &formats, fetch.count, fetch.moves);
            let (sent, more) = guard(&mut self.reader, &self.cancel, timeout, send).await?;
            rows = sent;
            if !more {
                portal.state = State::Done;
            }
        }
        Ok(format!("{} {rows}", if fetch.moves { "MOVE" } else { "FETCH" }))
    }
}

fn as_fetch(kind: &Kind) -> Option<&Fetch> {
    match kind {
        Kind::Ours(statement) => match &**statement {
            Statement::Fetch(fetch) => Some(fetch),
            _ => None,
        },
        Kind::Catalogue(_) => None,
    }
}

/// The command tag of a statement that had rows.
fn rows_tag(kind: &Kind, rows: u64) -> String {
    match kind {
        Kind::Ours(statement) if !matches!(**statement, Statement::Query(_)) => statement.tag().to_owned(),
        _ => format!("SELECT {rows}"),
    }
}

/// Refuses a result that is not what the client was told: it would read one type as another.
fn check_described(prepared: &Prepared, source: &Source) -> Result<(), WireError> {
    let types = |schema: &arrow::datatypes::Schema| -> Vec<_> {
        schema.fields().iter().map(|field| field.data_type().clone()).collect()
    };
    let told = prepared.schema.as_ref().map(|schema| types(schema)).unwrap_or_default();
    if told == types(&source.schema) {
        return Ok(());
    }
    let error = WireError::new("0A000", "cached plan must not change result type");
    Err(error.hint("a table has changed since the statement was prepared; prepare it again"))
}
