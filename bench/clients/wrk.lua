-- wrk sends the requests of a file in turn; bench/setup/wrk.py reads what this prints.
-- The file holds whole requests, separated by NUL.

local requests, number = {}, 0

function init(arguments)
    for request in io.open(arguments[1], "rb"):read("*a"):gmatch("%Z+") do
        requests[#requests + 1] = request
    end
end

function request()
    number = number % #requests + 1
    return requests[number]
end

function done(summary, latency, _)
    local errors = 0
    for _, count in pairs(summary.errors) do errors = errors + count end
    io.write(string.format('{"answered": %d, "errors": %d}\n', summary.requests, errors))
end
