import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import org.postgresql.PGConnection;

/** PostgreSQL's JDBC driver against a server: statements, types, transactions, metadata, COPY. */
public class Client {
    static final LocalDateTime AT = LocalDateTime.of(2024, 2, 29, 12, 34, 56, 789_000_000);

    public static void main(String[] args) throws Exception {
        for (String options : new String[] {"", "?preferQueryMode=simple", "?prepareThreshold=1&binaryTransfer=true"}) {
            try (Connection pg = DriverManager.getConnection(args[0] + options, args[1], args[2])) {
                types(pg);
                transactions(pg);
                if (options.isEmpty()) {
                    metadata(pg);
                    copy(pg);
                    cancel(pg);
                }
            }
            System.out.println("done with " + (options.isEmpty() ? "the defaults" : options));
        }
        System.out.println("all done");
    }

    static void check(Object expected, Object found) {
        if (!java.util.Objects.equals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static Object one(Connection pg, String sql) throws SQLException {
        try (Statement s = pg.createStatement(); ResultSet rows = s.executeQuery(sql)) {
            check(true, rows.next());
            return rows.getObject(1);
        }
    }

    static void types(Connection pg) throws SQLException {
        try (Statement s = pg.createStatement()) {
            s.execute("DROP TABLE IF EXISTS of_jdbc");
            s.execute("CREATE TABLE of_jdbc (ok BOOLEAN, s SHORT, i INT, l LONG, f FLOAT, d DOUBLE, v VARCHAR, ts TIMESTAMP) timestamp(ts)");
        }
        try (PreparedStatement s = pg.prepareStatement("INSERT INTO of_jdbc VALUES (?, ?, ?, ?, ?, ?, ?, ?)")) {
            for (int i = 0; i < 20; i++) {
                s.setBoolean(1, true);
                s.setShort(2, (short) 2);
                s.setInt(3, i);
                s.setLong(4, 1L << 40);
                s.setFloat(5, 1.5f);
                s.setDouble(6, -2.25);
                s.setString(7, "v" + i);
                s.setObject(8, AT);
                s.addBatch();
            }
            check(20, s.executeBatch().length);
            for (int i = 1; i <= 7; i++) {
                s.setNull(i, Types.NULL);
            }
            s.setTimestamp(8, Timestamp.valueOf(AT.plusDays(1)));
            check(1, s.executeUpdate());
        }
        String sql = "SELECT * FROM of_jdbc WHERE i = ? AND v = ? AND d < ? AND ts = ?";
        try (PreparedStatement s = pg.prepareStatement(sql)) {
            for (int i = 0; i < 8; i++) {
                s.setInt(1, i);
                s.setString(2, "v" + i);
                s.setBigDecimal(3, new java.math.BigDecimal("0.5"));
                s.setTimestamp(4, Timestamp.valueOf(AT));
                try (ResultSet row = s.executeQuery()) {
                    check(true, row.next());
                    check(true, row.getBoolean("ok"));
                    check((short) 2, row.getShort("s"));
                    check(i, row.getInt("i"));
                    check(1L << 40, row.getLong("l"));
                    check(1.5f, row.getFloat("f"));
                    check(-2.25, row.getDouble("d"));
                    check("v" + i, row.getString("v"));
                    check(AT, row.getObject("ts", LocalDateTime.class));
                    check(false, row.next());
                    ResultSetMetaData columns = row.getMetaData();
                    check(8, columns.getColumnCount());
                    check("int8", columns.getColumnTypeName(4));
                    check(Types.TIMESTAMP, columns.getColumnType(8));
                }
            }
        }
        if (!pg.unwrap(PGConnection.class).getPreferQueryMode().value().equals("simple")) {
            try (PreparedStatement s = pg.prepareStatement("SELECT count() FROM of_jdbc WHERE i = ANY(?)")) {
                Array some = pg.createArrayOf("int4", new Integer[] {1, 2, 99});
                s.setArray(1, some);
                try (ResultSet rows = s.executeQuery()) {
                    rows.next();
                    check(2L, rows.getLong(1));
                }
            }
        }
        try (Statement s = pg.createStatement(); ResultSet row = s.executeQuery("SELECT * FROM of_jdbc WHERE i IS NULL")) {
            check(true, row.next());
            check(null, row.getObject("d"));
            check(Timestamp.valueOf(AT.plusDays(1)), row.getTimestamp("ts"));
        }
    }

    static void transactions(Connection pg) throws SQLException {
        Object before = one(pg, "SELECT count() FROM of_jdbc");
        pg.setAutoCommit(false);
        try (Statement s = pg.createStatement()) {
            s.executeUpdate("INSERT INTO of_jdbc (i, ts) VALUES (100, '2024-01-01')");
            pg.rollback();
            check(before, one(pg, "SELECT count() FROM of_jdbc"));
            s.executeUpdate("INSERT INTO of_jdbc (i, ts) VALUES (100, '2024-01-01')");
            pg.commit();
            check((Long) before + 1, one(pg, "SELECT count() FROM of_jdbc"));
            s.setFetchSize(3);
            int rows = 0;
            try (ResultSet found = s.executeQuery("SELECT i FROM of_jdbc")) {
                while (found.next()) {
                    rows++;
                }
            }
            check((Long) before + 1, (long) rows);
            try {
                s.executeQuery("SELECT nothing FROM of_jdbc");
                throw new AssertionError("no error");
            } catch (SQLException error) {
                check("42703", error.getSQLState());
            }
            pg.rollback();
        }
        pg.setAutoCommit(true);
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> found = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                found.add(rows.getString(name));
            }
        }
        return found;
    }

    static void metadata(Connection pg) throws SQLException {
        DatabaseMetaData data = pg.getMetaData();
        check("PostgreSQL", data.getDatabaseProductName());
        check(16, data.getDatabaseMajorVersion());
        check(true, column(data.getSchemas(), "TABLE_SCHEM").contains("public"));
        check(true, column(data.getCatalogs(), "TABLE_CAT").size() > 0);
        check(true, column(data.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME").contains("of_jdbc"));
        check(List.of("of_jdbc"), column(data.getTables(null, null, "of\\_jdbc", null), "TABLE_NAME"));
        List<String> columns = List.of("ok", "s", "i", "l", "f", "d", "v", "ts");
        check(columns, column(data.getColumns(null, "public", "of_jdbc", "%"), "COLUMN_NAME"));
        List<String> types = List.of("bool", "int2", "int4", "int8", "float4", "float8", "text", "timestamp");
        check(types, column(data.getColumns(null, null, "of_jdbc", null), "TYPE_NAME"));
        check(List.of(), column(data.getPrimaryKeys(null, "public", "of_jdbc"), "COLUMN_NAME"));
        check(List.of(), column(data.getImportedKeys(null, "public", "of_jdbc"), "FKCOLUMN_NAME"));
        check(List.of(), column(data.getIndexInfo(null, "public", "of_jdbc", false, false), "INDEX_NAME"));
        check(true, column(data.getTypeInfo(), "TYPE_NAME").contains("int8"));
        check(true, column(data.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
    }

    static void copy(Connection pg) throws Exception {
        var copies = pg.unwrap(PGConnection.class).getCopyAPI();
        check(2L, copies.copyIn("COPY of_jdbc (i, v, ts) FROM STDIN WITH CSV", new StringReader("7,a,2024-05-01\n8,,2024-05-02\n")));
        StringWriter out = new StringWriter();
        copies.copyOut("COPY (SELECT i, v FROM of_jdbc WHERE ts >= '2024-05-01' ORDER BY ts) TO STDOUT WITH CSV", out);
        check("7,a\n8,\n", out.toString());
    }

    static void cancel(Connection pg) throws SQLException {
        try (Statement s = pg.createStatement()) {
            s.setQueryTimeout(1);
            s.executeQuery("SELECT count() FROM generate_series(1, 1000000000000) WHERE value % 7 = 9");
            throw new AssertionError("no error");
        } catch (SQLException error) {
            check("57014", error.getSQLState());
        }
        check(1L, one(pg, "SELECT 1::bigint"));
    }
}
