-- Country codes are upper case; prefectures are longer and stay lower case.
update influencers set region = upper(region collate "C") where length(region) = 2;
update salons set region = upper(region collate "C") where length(region) = 2;
