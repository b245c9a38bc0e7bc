//! scratch
use std::{collections::HashMap, time::{Duration, Instant}, path::PathBuf};
use wavebatch::{clock::Clock, definition::*, domain::{cost::Rates, identity::*, pool::*}, media::fetch::*, runner::*, store::*, waves::{Client, Settings, account}};
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let url: url::Url = a[1].parse().unwrap(); let dir = &a[2]; let conc: u32 = a[3].parse().unwrap(); let formats = &a[4];
    let t = tempfile::tempdir_in(".").unwrap();
    let toml = format!("name='b'\ntask='transcribe'\nmanifest='{dir}'\noutput='out/'\n[transcribe]\nmodel='pulse'\nlanguage='en'\nformats=[{formats}]\n[run]\nconcurrency={conc}\n");
    let p: PathBuf = t.path().join("d.toml"); std::fs::write(&p, toml).unwrap();
    let store = Store::open(Opening::new(t.path().join("w.db"))).await.unwrap().0;
    let _ = Clock::system();
    let def = Definition::load(&p, &Overrides::default()).unwrap();
    let m = Manifest::open(&def, None).unwrap(); let scan = m.scan().unwrap(); let spec = def.spec(&scan.header);
    let (batch, _) = store.begin_submit(NewBatch{name:"b".into(),definition:"b".into(),world:"waves",spec:serde_json::to_string(&spec).unwrap(),max_spend:None,concurrency:Some(conc),pause_on_failures:true}).await.unwrap();
    let mut jobs=vec![]; for r in m.lines(&scan).unwrap() { if let Row::Good(l)=r.unwrap() { let s=l.source.unwrap(); jobs.push(NewJob{line:l.number,key:l.key.as_str().into(),source_id:source_identity(&s,None),options_id:options_identity(&spec.transcribe),source:s,overrides:None,carried:None,pool:Pool::Pulse}); } }
    let n = jobs.len();
    store.submit(batch, jobs, vec![]).await.unwrap(); store.end_submit(batch).await.unwrap();
    let key = secrecy::SecretString::from("sk_x");
    let client = Client::new(Settings{base_url:url.clone(),key:key.clone(),connect_timeout:Duration::from_secs(5),user_agent:"x".into()}).unwrap();
    let (tx, _rx) = tokio::sync::mpsc::unbounded_channel();
    let r = Runner::new(store.clone(), client, Fetcher::new(FetchSettings::default()).unwrap(), RunnerConfig{world:"waves",account:account(&url,&key),limits:HashMap::new(),rates:Rates::default()}, tx);
    let b = Instant::now();
    let end = r.run(&[batch], Default::default(), Default::default()).await.unwrap();
    let e = b.elapsed().as_secs_f64();
    println!("{end:?} {n} lines {e:.3} s {:.0}/s", n as f64/e);
}
