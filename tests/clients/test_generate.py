"""`nowcast generate thelook`, to both wires of a server (over tokio-postgres, and over line protocol)."""

import re
import subprocess

from conftest import BINARY, PASSWORD

PRODUCTS = """id,cost,category,name,brand,retail_price,department,sku,distribution_center_id
1,10.5,Jeans,Slim Jeans,Acme,29.99,Men,SKU1,1
2,4.25,Socks,Warm Socks,Acme,9.5,Women,SKU2,2
"""

TABLES = ["users", "orders", "order_items", "inventory_items", "events"]


def generate(*arguments):
    done = subprocess.run([BINARY, "generate", "thelook", *arguments], capture_output=True, text=True, timeout=120)
    return done


def counts(server, schema):
    return [server.exec(f"SELECT count() FROM {schema}.{table}")[0][0] for table in TABLES]


def test_over_the_postgresql_wire_with_the_spellings_of_old(own_server, tmp_path):
    products = tmp_path / "products.csv"
    products.write_text(PRODUCTS)
    server = own_server()
    to = f"postgres://admin:{PASSWORD}@127.0.0.1:{server.pg_port}/develop"
    done = generate("--to", to, "-w", "0", "--max_iter", "4", "-i", "append", "--seed", "7", "--products", str(products))
    assert done.returncode == 0, done.stderr
    assert "INFO:root:Generate theLook eCommerce data..." in done.stderr
    assert "replace records, table - products, # records - 2" in done.stderr
    assert len(re.findall("start to create user events - user id: ", done.stderr)) == 4
    assert "stop generating records after 4 iterations" in done.stderr
    assert server.exec("SELECT count() FROM ecommerce.products") == [[2]]
    first = counts(server, "ecommerce")
    assert first[0] == 4
    joined = """SELECT count() FROM ecommerce.order_items o JOIN ecommerce.users u ON u.id = o.user_id
                JOIN ecommerce.products p ON p.id = o.product_id"""
    assert server.exec(joined) == [[first[2]]]
    assert generate("--to", to, "-w", "0", "-m", "2", "-i", "fail", "--products", str(products)).returncode != 0
    assert generate("--to", to, "-w", "0", "-m", "2", "-i", "replace", "--products", str(products)).returncode == 0
    assert counts(server, "ecommerce")[0] == 2


def test_over_http_the_same_seed_makes_the_same_rows(own_server):
    server = own_server()
    runs = []
    for _ in range(2):
        flags = ["--wait-for", "0", "--max-iter", "5", "--seed", "3", "--if-exists", "replace"]
        done = generate("--to", server.http, *flags)
        assert done.returncode == 0, done.stderr
        runs.append(server.exec("SELECT id, email, country FROM users ORDER BY id"))
    assert len(runs[0]) == 5
    assert runs[0] == runs[1]


def test_a_server_that_is_not_there_is_named():
    done = generate("--to", "http://127.0.0.1:1", "-m", "1")
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr
