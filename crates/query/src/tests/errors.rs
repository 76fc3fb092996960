//! What is refused: the fact, the place, the remedy.

use super::*;

#[test]
fn a_query_of_too_many_words_is_refused_before_it_is_planned() {
    let mut world = World::new();
    let error = world.error(&format!("SELECT {}", vec!["1"; 50_000].join(", ")));
    assert_eq!(
        error,
        "53000 the query has 100000 words and signs, at most 20000 are allowed (line 1, column 1); put values into a table and join it"
    );
}

#[test]
fn unknown_names_say_what_was_meant() {
    check(
        &mut World::trips(),
        &[
            (
                "SELECT prise FROM trips",
                "42703 there is no column \"prise\" (line 1, column 8); did you mean \"price\"?",
            ),
            (
                "SELECT 1\nFROM tripz",
                "42P01 there is no table \"tripz\" (line 2, column 6); did you mean \"Trips\"?",
            ),
            (
                "SELECT conut(price) FROM trips",
                "42883 there is no function conut() (line 1, column 8); did you mean count()?",
            ),
            (
                "SELECT * FROM nope.trips",
                "3F000 there is no schema \"nope\" (line 1, column 20); the schemas there are: public",
            ),
            (
                "SELECT x.price FROM trips t",
                "42P01 there is no table or alias \"x\" in this query (line 1, column 8); did you mean \"t\"?",
            ),
            (
                "SELECT price FROM trips WHERE cab = $cabb",
                "22023 there is no value for the parameter $cabb (line 1, column 37); send it as a parameter, or declare it as a variable of the dashboard",
            ),
        ],
    );
}

#[test]
fn what_is_not_built_is_named_with_what_works() {
    let mut world = World::trips();
    let cases = [
        ("MERGE INTO trips USING trips", "MERGE", "column 1", "DISTINCT ON"),
        ("COPY trips TO '/tmp/x'", "COPY", "column 15", "\\copy"),
        (
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            "CREATE EXTERNAL",
            "column 8",
            "files are not read",
        ),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW", "column 8", "live"),
        ("SELECT * INTO x FROM trips", "SELECT … INTO", "column 10", "INSERT INTO"),
        ("ALTER TABLE trips ALTER COLUMN price TYPE INT", "ALTER COLUMN", "column 19", "new table"),
        ("ALTER TABLE trips DROP CONSTRAINT one", "DROP CONSTRAINT", "column 19", "DEDUP UPSERT KEYS"),
    ];
    for (sql, clause, column, hint) in cases {
        let error = world.error(sql);
        for part in ["0A000", clause, column, hint] {
            assert!(error.contains(part), "{sql}: {error} lacks {part}");
        }
    }
}

#[test]
fn what_is_not_sql_has_a_place() {
    check(
        &mut World::trips(),
        &[
            (
                "SELEC 1",
                "42601 a statement cannot begin with \"SELEC\" (line 1, column 1); did you mean SELECT?",
            ),
            ("SELECT 'x", "42601 unterminated string literal (line 1, column 8)"),
            ("SELECT (1", "42601 the text ends where ) is expected (line 1, column 10)"),
        ],
    );
}

#[test]
fn files_cannot_be_read_through_sql() {
    let mut world = World::trips();
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/hosts.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
    ] {
        let error = world.error(sql);
        assert!(error.contains("there is no table"), "{sql}: {error}");
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let mut world = World::trips();
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(world.error(&deep).contains("deep"));
    let long = format!("SELECT '{}'", "x".repeat(1 << 20));
    assert!(world.error(&long).contains("bytes"));
}

#[test]
fn copies_and_cursors_are_read_in_every_spelling() {
    let engine = crate::QueryEngine::new(crate::QueryOptions::default()).unwrap();
    let tag = |sql: &str| engine.parse_one(sql).map(|statement| statement.tag());
    for sql in [
        "COPY t FROM STDIN",
        "COPY public.t (a, \"B\") FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'NA', QUOTE '''', ESCAPE '\\')",
        "COPY t FROM stdin CSV HEADER DELIMITER AS ',' NULL AS ''",
        "COPY BINARY t TO STDOUT",
        "COPY (SELECT count() FROM (SELECT 1) x) TO STDOUT (FORMAT binary)",
        "COPY t TO STDOUT WITH DELIMITER E'\\t'",
    ] {
        assert_eq!(tag(sql), Ok("COPY"), "{sql}");
    }
    for sql in
        ["FETCH c", "FETCH 5 FROM c", "FETCH FORWARD ALL IN \"C\"", "FETCH NEXT FROM c", "FETCH FORWARD c"]
    {
        assert_eq!(tag(sql), Ok("FETCH"), "{sql}");
    }
    for sql in ["DECLARE c CURSOR FOR SELECT 1", "DECLARE c BINARY NO SCROLL CURSOR WITH HOLD FOR VALUES (1)"]
    {
        assert_eq!(tag(sql), Ok("DECLARE CURSOR"), "{sql}");
    }
    // Tables may have such names.
    for sql in ["copy", "fetch WHERE x = 1", "declare.t", "move ORDER BY 1", "savepoint", "release LIMIT 1"] {
        assert_eq!(tag(sql), Ok("SELECT"), "{sql}");
    }
    for sql in [
        "COPY t",
        "COPY t FROM",
        "COPY (SELECT 1",
        "COPY () TO STDOUT",
        "COPY t FROM '/etc/passwd'",
        "COPY t FROM STDIN (FORMAT)",
        "COPY t FROM STDIN (FORMAT binary, HEADER)",
        "COPY t FROM STDIN WHERE a = 1",
        "COPY (SELECT 1) FROM STDIN",
        "DECLARE c SCROLL CURSOR FOR SELECT 1",
        "DECLARE c CURSOR FOR INSERT INTO t VALUES (1)",
        "FETCH BACKWARD 1 FROM c",
        "FETCH -1 FROM c",
        "FETCH 1 FROM",
        "SAVEPOINT 1",
    ] {
        assert!(tag(sql).is_err(), "{sql}");
    }
}
