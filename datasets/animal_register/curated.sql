-- How many animals came into custody in each month, how, what became of them and how long they stayed.
-- Reads `trusted`, the rows that passed the rules. Names of animals and of staff are personal and stay out.
SELECT
    CAST(date_trunc('month', DateImpounded) AS DATE) AS "Month Impounded",
    Source AS "Source",
    Status AS "Outcome",
    count(*) AS "Animals",
    count(DispositionDate) AS "With Date Of Leaving",
    CAST(median(date_diff('day', DateImpounded, DispositionDate)) AS DECIMAL(8, 1)) AS "Median Days In Custody",
    -- Weights such as 0.00000025 are slips of the keyboard.
    CAST(median(WeightPounds) FILTER (WHERE WeightPounds BETWEEN 0.01 AND 250) AS DECIMAL(6, 1)) AS "Median Weight In Pounds"
FROM trusted
GROUP BY date_trunc('month', DateImpounded), Source, Status
ORDER BY "Month Impounded", "Source" NULLS LAST, "Outcome" NULLS LAST
