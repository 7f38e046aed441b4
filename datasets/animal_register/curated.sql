-- How many animals came into custody in each month, how, what became of them and how long they stayed.
-- Reads `trusted`, the rows that passed the rules. Names of animals and of staff are personal and stay out.
SELECT
    -- The first day of the month in which the animals came into custody.
    CAST(date_trunc('month', DateImpounded) AS DATE) AS "Month Impounded",
    Source AS "Source", -- how they came into custody
    Status AS "Outcome", -- what became of them
    count(*) AS "Animals", -- how many animals
    count(DispositionDate) AS "With Date Of Leaving", -- how many of them have a day on which they left
    -- Half of those that left stayed no longer than this.
    CAST(median(date_diff('day', DateImpounded, DispositionDate)) AS DECIMAL(8, 1)) AS "Median Days In Custody",
    -- Half of them weigh no more. Weights such as 0.00000025 are slips of the keyboard.
    CAST(median(WeightPounds) FILTER (WHERE WeightPounds BETWEEN 0.01 AND 250) AS DECIMAL(6, 1)) AS "Median Weight In Pounds"
FROM trusted
GROUP BY date_trunc('month', DateImpounded), Source, Status
ORDER BY "Month Impounded", "Source" NULLS LAST, "Outcome" NULLS LAST
