drop table scrape_runs;
