update salons set region = lower(region collate "C") where length(region) = 2;
update influencers set region = lower(region collate "C") where length(region) = 2;
