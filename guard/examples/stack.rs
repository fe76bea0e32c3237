fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (mb, n, what): (usize, usize, &str) = (a[1].parse().unwrap(), a[2].parse().unwrap(), &a[3]);
    let sql = match what { "cast" => format!("SELECT 1{}", "::int".repeat(n)), "plus" => format!("SELECT 1{}", "+1".repeat(n)), "sub" => format!("{}SELECT 1{}", "SELECT (".repeat(n), ")".repeat(n)), "union" => format!("SELECT 1{}", " UNION SELECT 1".repeat(n)), _ => format!("SELECT {}1{}", "abs(".repeat(n), ")".repeat(n)) };
    let mode = a[4].clone();
    std::thread::Builder::new().stack_size(mb << 20).spawn(move || {
        if mode == "parse" { let r = pg_query::parse(&sql, 0); println!("{:?}", r.as_ref().map(|_| ()).map_err(|e| e.to_string())); std::mem::forget(r); }
        if mode == "drop" { let r = pg_query::parse(&sql, 0); println!("{:?}", r.map(|_| ()).map_err(|e| e.to_string())); }
        if mode == "fp" { println!("{:?}", pg_query::fingerprint(&sql, 0, 0).map(|f| f.hex)); }
    }).unwrap().join().unwrap();
}
