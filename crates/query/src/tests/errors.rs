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
        ("ALTER TABLE trips DROP COLUMN price", "DROP COLUMN", "column 19", "new table"),
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
